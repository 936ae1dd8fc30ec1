/** What one of two networks does to UDP, as far as it is known here. */
export interface NetworkSide {
  /** No UDP gets through: it is reached by tunnel only. */
  readonly udpBlocked: boolean;
  /** How its NAT chooses ports (RFC 4787 §4.1); undefined: not known. */
  readonly mapping: 'endpoint-independent' | 'sequential' | 'random' | undefined;
  /** UDP gets out to port 443 only, where servers listen and no friend does. */
  readonly only443: boolean;
  /** The IPv4 address that servers see it at; undefined: not known. */
  readonly outerHost: string | undefined;
}

/** Why there is no direct path between two peers. */
export interface Obstacle {
  /** Whose network stands in the way. */
  readonly whose: 'own' | 'friend' | 'both' | 'unknown';
  readonly reason: string;
  readonly hint: string;
}

/** Names the network that stands in the way of a direct path that was looked for and not found. */
export function obstacleBetween(own: NetworkSide, friend: NetworkSide): Obstacle {
  const blocked = whose(own.udpBlocked, friend.udpBlocked);
  if (blocked !== undefined) {
    return {
      whose: blocked,
      reason: `${SUBJECTS[blocked]} no UDP through`,
      hint: 'Another network, as that of a phone, or a firewall that lets UDP out would help.',
    };
  }
  const strict = whose(own.only443, friend.only443);
  if (strict !== undefined) {
    return {
      whose: strict,
      reason: `${SUBJECTS[strict]} UDP out to port 443 only, which servers can use and friends cannot`,
      hint: 'Another network, as that of a phone, or a firewall that lets UDP out to every port would help.',
    };
  }
  // Their addresses behind it, and what it sends back to its own outer one, have been tried.
  if (own.outerHost !== undefined && own.outerHost === friend.outerHost) {
    return {
      whose: 'both',
      reason:
        'you and your friend are behind one router, yours or your provider’s, which lets you reach each other neither behind it nor by its outer address',
      hint: 'A network whose devices may talk to each other (no guest network, no client isolation), IPv6, or another network for one of you would help.',
    };
  }
  const random = whose(own.mapping === 'random', friend.mapping === 'random');
  const changing = random ?? whose(isChanging(own), isChanging(friend));
  if (changing !== undefined) {
    return {
      whose: changing,
      reason: `${SUBJECTS[changing]} each connection out by another port, which nobody can foresee`,
      hint: 'IPv6, a port that the router forwards, or another network, as that of a phone, would help.',
    };
  }
  return {
    whose: 'unknown',
    reason: 'a firewall in one of the two networks drops what comes directly',
    hint: 'Let UDP out in the firewalls of both networks, or try another network.',
  };
}

const SUBJECTS = {
  own: 'your network lets',
  friend: 'your friend’s network lets',
  both: 'both networks let',
} as const;

function isChanging({ mapping }: NetworkSide): boolean {
  return mapping === 'sequential' || mapping === 'random';
}

function whose(own: boolean, friend: boolean): 'own' | 'friend' | 'both' | undefined {
  if (own && friend) return 'both';
  if (own) return 'own';
  return friend ? 'friend' : undefined;
}
