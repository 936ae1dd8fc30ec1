type Statement = {
  Effect: 'Allow' | 'Deny';
  Action?: string | string[];
  NotAction?: string | string[];
  Resource?: string | string[];
  NotResource?: string | string[];
};

/** What Amazon's policies allow of which the fake knows: as far as our hosts ask. */
const MANAGED: Readonly<Record<string, Statement>> = {
  AmazonSSMManagedInstanceCore: {
    Effect: 'Allow',
    Action: ['ssm:GetParameter', 'ssm:GetParameters', 'ssm:UpdateInstanceInformation'],
    Resource: '*',
  },
};

/**
 * Whether these policies let their holder do `action` to `resource`: some statement allows it and
 * none denies it. Conditions are not looked at.
 */
export function allows(
  documents: readonly string[],
  managed: readonly string[],
  action: string,
  resource: string,
): boolean {
  const own = documents.flatMap((document) => {
    const { Statement: statements } = JSON.parse(document) as {
      Statement: Statement | Statement[];
    };
    return Array.isArray(statements) ? statements : [statements];
  });
  const given = managed.map((arn) => MANAGED[arn.split('/').pop() ?? '']);
  const applying = [...own, ...given]
    .filter((statement) => statement !== undefined)
    .filter((statement) => concerns(statement, action, resource));
  return (
    applying.some(({ Effect }) => Effect === 'Allow') &&
    !applying.some(({ Effect }) => Effect === 'Deny')
  );
}

function concerns(statement: Statement, action: string, resource: string): boolean {
  const { Action, NotAction, Resource, NotResource } = statement;
  const acts = Action === undefined ? !matches(NotAction, action) : matches(Action, action);
  const isThere =
    Resource === undefined ? !matches(NotResource, resource) : matches(Resource, resource);
  return acts && isThere;
}

function matches(patterns: string | string[] | undefined, text: string): boolean {
  return [patterns ?? []].flat().some((pattern) => {
    const source = pattern
      .replace(/[.+^${}()|[\]\\]/g, '\\$&')
      .replaceAll('*', '.*')
      .replaceAll('?', '.');
    return new RegExp(`^${source}$`, 'i').test(text);
  });
}
