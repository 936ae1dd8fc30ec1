/* Random numbers that a seed repeats. */
#ifndef CHANCE_H
#define CHANCE_H

#include <stdint.h>

void chance_seed(uint64_t seed);
/* 0 to below - 1. */
uint32_t chance_below(uint32_t below);

#endif
