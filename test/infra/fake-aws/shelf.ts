import { AwsError, type Query } from './query.ts';
import type { Xml } from './xml.ts';

/** Something EC2 keeps, in the shape of its answers. */
export type Thing = Record<string, Xml> & { tagSet: Tag[] };

/** A tag as EC2's answers have it. */
export type Tag = { key: string; value: string };

/** What EC2 answers to one action. */
type Handler = (query: Query) => Xml | Promise<Xml>;
export type Handlers = Readonly<Record<string, Handler>>;

/** All things of one kind, by their identifiers. */
export class Shelf<T extends Thing> {
  readonly #things = new Map<string, T>();
  readonly #kind: string;
  readonly #code: string;
  #made = 0;

  /** `kind` begins the identifiers (`vpc`), `code` the error for unknown ones (`InvalidVpcID`). */
  constructor(kind: string, code: string) {
    this.#kind = kind;
    this.#code = code;
  }

  /** An identifier that nothing had; ever the same ones from run to run. */
  nextId(): string {
    this.#made += 1;
    return `${this.#kind}-${this.#made.toString(16).padStart(17, '0')}`;
  }

  put(id: string, thing: T): T {
    this.#things.set(id, thing);
    return thing;
  }

  get(id: string): T | undefined {
    return this.#things.get(id);
  }

  need(id: string): T {
    const thing = this.#things.get(id);
    if (thing === undefined) {
      throw new AwsError(`${this.#code}.NotFound`, `The ${this.#kind} ID '${id}' does not exist`);
    }
    return thing;
  }

  delete(id: string): void {
    this.need(id);
    this.#things.delete(id);
  }

  all(): T[] {
    return [...this.#things.values()];
  }

  /**
   * The things a `Describe…` call asks for: by identifiers under `idKey`, by filters, or all. A
   * filter is answered by `fields`, else by the thing's own field of that name; tags as `tag:KEY`.
   */
  find(
    query: Query,
    idKey: string,
    fields: Readonly<Record<string, (thing: T) => readonly (string | undefined)[]>> = {},
  ): T[] {
    const ids = query.list(idKey);
    const found = ids.length > 0 ? ids.map((id) => this.need(id)) : this.all();
    return query.groups('Filter').reduce((left, filter) => {
      const name = filter.need('Name');
      const wanted = filter.list('Value');
      return left.filter((thing) => {
        const values = name.startsWith('tag:')
          ? thing.tagSet.filter(({ key }) => key === name.slice(4)).map(({ value }) => value)
          : (fields[name] ?? unknownFilter(this.#kind, name))(thing);
        return values.some((value) => value !== undefined && wanted.includes(value));
      });
    }, found);
  }
}

/**
 * The tags that a `Create…` call gives to what it makes; `kind` says to which, where it makes several
 * things.
 */
export function tagsOf(query: Query, kind?: string): Tag[] {
  return query
    .groups('TagSpecification')
    .filter((one) => kind === undefined || one.get('ResourceType') === kind)
    .slice(0, 1)
    .flatMap((specification) => specification.groups('Tag'))
    .map((tag) => ({ key: tag.need('Key'), value: tag.get('Value') ?? '' }));
}

function unknownFilter(kind: string, name: string): never {
  throw new AwsError('FakeGap', `the fake knows no filter ${name} of ${kind}`, 501);
}
