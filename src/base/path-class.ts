/**
 * The three kinds of path a connection between friends can run over, best first. Each has one
 * synthetic address for the whole life of the connection, so that congestion control starts afresh
 * when the class changes (RFC 9000 §9.4) and not when a path within it does.
 */
export type PathClass = 'lan' | 'public' | 'relay';
