#include "chance.h"

static uint64_t state = 1;

void chance_seed(uint64_t seed) { state = seed * 0x9e3779b97f4a7c15u | 1; }

uint32_t chance_below(uint32_t below) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (uint32_t)((state >> 32) % below);
}
