/**
 * The parameters of a call of AWS's query protocol: a form whose keys are paths, as in
 * `Filter.1.Name=vpc-id&Filter.1.Value.1=vpc-1`.
 */
export class Query {
  readonly #values: ReadonlyMap<string, string>;

  constructor(values: ReadonlyMap<string, string>) {
    this.#values = values;
  }

  static parse(form: string): Query {
    return new Query(new Map(new URLSearchParams(form)));
  }

  get(key: string): string | undefined {
    return this.#values.get(key);
  }

  /** The value of a parameter without which the call makes no sense; throws where it is missing. */
  need(key: string): string {
    const value = this.#values.get(key);
    if (value === undefined) throw new AwsError('MissingParameter', `${key} is missing`);
    return value;
  }

  /** The values of `KEY.1`, `KEY.2`, … */
  list(key: string): string[] {
    const values: string[] = [];
    for (let index = 1; ; index += 1) {
      const value =
        this.#values.get(`${key}.${index}`) ?? this.#values.get(`${key}.member.${index}`);
      if (value === undefined) return values;
      values.push(value);
    }
  }

  /** What stands under `KEY.1.`, `KEY.2.`, … each as parameters of its own. */
  groups(key: string): Query[] {
    const groups: Query[] = [];
    for (let index = 1; ; index += 1) {
      const group = this.under(`${key}.${index}`) ?? this.under(`${key}.member.${index}`);
      if (group === undefined) return groups;
      groups.push(group);
    }
  }

  /** What stands under `KEY.`; undefined where nothing does. */
  under(key: string): Query | undefined {
    const prefix = `${key}.`;
    const inner = new Map<string, string>();
    for (const [name, value] of this.#values) {
      if (name.startsWith(prefix)) inner.set(name.slice(prefix.length), value);
    }
    return inner.size === 0 ? undefined : new Query(inner);
  }
}

/** An answer that AWS gives as an error; `code` is what the provider goes by. */
export class AwsError extends Error {
  readonly code: string;
  readonly status: number;

  constructor(code: string, message: string, status = 400) {
    super(message);
    this.code = code;
    this.status = status;
  }
}
