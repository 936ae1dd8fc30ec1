// Its grammar is the configuration's business too, and lives on the floor both stand on.
export {
  type BalancerAddress,
  formatBalancerAddress,
  parseBalancerAddress,
} from '../base/balancer-address.ts';
