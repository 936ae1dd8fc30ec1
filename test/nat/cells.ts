import { modelOf, ROUTER_TYPES, type RouterType } from './router-types.ts';

/** How the places of two people lie to each other. */
type Together =
  /** Two sites, each behind its own router. */
  | 'apart'
  /** One router, and the two reach each other behind it. */
  | 'one-lan'
  /** One router whose access point keeps its clients from each other. */
  | 'isolated-lan'
  /** Two homes that are customers of one carrier, below one of its translators. */
  | 'one-carrier';

/** Two people and where they are: one field of the matrix. */
export interface Cell {
  /** `masquerade × eim-apdf`, or the layout's name. */
  readonly name: string;
  readonly a: RouterType;
  readonly b: RouterType;
  readonly together: Together;
  /** Whether the router they share sends back what is for its own outer address. */
  readonly hairpin: boolean;
  /** Both private networks have the same addresses. */
  readonly sameSubnet: boolean;
}

const LAYOUTS: readonly Cell[] = [
  layout('one LAN', 'masquerade', 'one-lan'),
  layout('isolated LAN behind masquerade', 'masquerade', 'isolated-lan'),
  layout('isolated LAN behind EIM', 'eim-eif', 'isolated-lan'),
  layout('two sites, one subnet', 'masquerade', 'apart', { sameSubnet: true }),
  layout('two homes, one CGN with hairpin', 'cgn', 'one-carrier'),
  layout('two homes, one CGN without', 'cgn', 'one-carrier', { hairpin: false }),
];

/** The 66 pairs of the 11 networks, then the 6 layouts. */
export const CELLS: readonly Cell[] = [
  ...ROUTER_TYPES.flatMap((a, index) =>
    ROUTER_TYPES.slice(index).map((b): Cell => {
      return { name: `${a} × ${b}`, a, b, together: 'apart', hairpin: false, sameSubnet: false };
    }),
  ),
  ...LAYOUTS,
];

/** @throws RangeError for one that there is not. */
export function cellOf(name: string): Cell {
  const cell = CELLS.find((each) => each.name === name);
  if (cell === undefined) throw new RangeError(`there is no ${name}`);
  return cell;
}

function layout(
  name: string,
  type: RouterType,
  together: Together,
  options: { readonly hairpin?: boolean; readonly sameSubnet?: boolean } = {},
): Cell {
  const { ipv4 } = modelOf(type).claim;
  const { hairpin = together !== 'apart' && ipv4?.hairpin === true, sameSubnet = false } = options;
  return { name, a: type, b: type, together, hairpin, sameSubnet };
}
