/** `text` as one word of a command line (POSIX shells, and near enough elsewhere). */
export function shellWord(text: string): string {
  return /^[\p{L}\p{N}._/:=@%+-]+$/u.test(text)
    ? text
    : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
