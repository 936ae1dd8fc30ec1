import { constants, gzipSync } from 'node:zlib';

/** A file of a tarball; its path has no `..` and begins with no `/`. */
export interface TarEntry {
  readonly path: string;
  readonly content: Uint8Array;
  readonly executable: boolean;
}

const BLOCK_BYTES = 512;
/** Where gzip names the operating system it ran on (RFC 1952 §2.3.1); 255: unknown. */
const GZIP_OS_OFFSET = 9;
const GZIP_UNKNOWN_OS = 255;

/**
 * A gzipped tarball (POSIX ustar) that consists of its entries and nothing else: no time, no owner,
 * no machine, in the order of their paths. The same entries make the same bytes.
 *
 * A header is a block of text fields: name 0–99, mode 100, uid 108, gid 116, size 124, mtime 136,
 * checksum 148, type 156, magic and version 257, and what goes before the name 345–499.
 * @throws RangeError for a path that does not fit.
 */
export function tarball(entries: readonly TarEntry[]): Uint8Array {
  const sorted = [...entries].sort((a, b) => (a.path < b.path ? -1 : 1));
  const blocks = sorted.flatMap((entry) => [
    header(entry),
    entry.content,
    Buffer.alloc(-entry.content.length & (BLOCK_BYTES - 1)),
  ]);
  const end = Buffer.alloc(2 * BLOCK_BYTES);
  const zipped = gzipSync(Buffer.concat([...blocks, end]), { level: constants.Z_BEST_COMPRESSION });
  zipped[GZIP_OS_OFFSET] = GZIP_UNKNOWN_OS;
  return zipped;
}

function header({ path, content, executable }: TarEntry): Uint8Array {
  const block = Buffer.alloc(BLOCK_BYTES);
  const [prefix, name] = split(path);
  const octal = (value: number, digits: number): string => value.toString(8).padStart(digits, '0');
  block.write(name, 0);
  block.write(executable ? '0000755' : '0000644', 100);
  block.write('0000000', 108);
  block.write('0000000', 116);
  block.write(octal(content.length, 11), 124);
  block.write(octal(0, 11), 136);
  block.write(' '.repeat(8), 148);
  block.write('0', 156);
  block.write('ustar\u000000', 257);
  block.write(prefix, 345);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${octal(sum, 6)}\u0000`, 148);
  return block;
}

/** A path as at most 155 bytes before a slash and at most 100 after it. */
function split(path: string): readonly [prefix: string, name: string] {
  if (Buffer.byteLength(path) <= 100) return ['', path];
  for (let at = path.indexOf('/'); at !== -1; at = path.indexOf('/', at + 1)) {
    const [prefix, name] = [path.slice(0, at), path.slice(at + 1)];
    if (Buffer.byteLength(prefix) <= 155 && Buffer.byteLength(name) <= 100) return [prefix, name];
  }
  throw new RangeError(`the path ${path} is too long for a tarball`);
}
