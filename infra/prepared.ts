import { Fn, TerraformLocal, type TerraformResourceLifecycle } from 'cdktf';
import type { Construct } from 'constructs';

/** What stands for the content of a file that is missing; a precondition refuses the plan then. */
const MISSING = 'missing';

/**
 * A file that `npm run deploy:prepare` makes. It is read when Terraform plans, not when the stack is
 * made, so that a stack can be made, looked at and tested without it.
 */
export class PreparedFile {
  /** Its content. */
  readonly content: string;
  /** Its SHA-256, in hexadecimal. */
  readonly sha256: string;
  /** A number that changes with it: the first 28 bits of its SHA-256. */
  readonly version: number;
  readonly path: string;
  /** A condition. */
  readonly exists: string;

  private constructor(path: string) {
    this.path = path;
    this.content = Fn.try([Fn.file(path), MISSING]) as string;
    this.sha256 = Fn.try([Fn.filesha256(path), MISSING]) as string;
    const digits = Fn.substr(this.sha256, 0, 7);
    this.version = Fn.try([Fn.parseint(digits, 16), 0]) as number;
    this.exists = Fn.fileexists(path) as unknown as string;
  }

  /** The file at a path that a local value holds: Terraform checks nothing that refers to nothing. */
  static at(scope: Construct, id: string, path: string): PreparedFile {
    return new PreparedFile(new TerraformLocal(scope, id, path).asString);
  }

  /** Files in a folder, by their names. */
  static in(scope: Construct, id: string, folder: string): (name: string) => PreparedFile {
    const local = new TerraformLocal(scope, id, folder).asString;
    return (name) => new PreparedFile(Fn.join('/', [local, name]));
  }
}

/** Refuses a plan without the files, and says how to make them, on a line that nothing wraps. @param what - with its verb. */
export function needing(what: string, files: readonly PreparedFile[]): TerraformResourceLifecycle {
  return {
    createBeforeDestroy: true,
    precondition: files.map(({ exists, path }) => ({
      condition: exists,
      errorMessage: `${what} missing: there is no file ${path}. Make it with:\n  npm run deploy:prepare`,
    })),
  };
}
