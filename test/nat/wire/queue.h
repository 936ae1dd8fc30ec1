/* Packets under way: each comes out at its instant, those of one instant in the order they went in. */
#ifndef QUEUE_H
#define QUEUE_H

#include "packet.h"

struct node;

struct transit {
  int64_t at;
  uint64_t order;
  struct node *node;
  /* Towards the core, or from it. */
  bool up;
  struct packet packet;
};

void queue_put(int64_t at, struct node *node, bool up, const struct packet *packet);
/* The next one due by `now`, to be given back by `free`; NULL where there is none. */
struct transit *queue_take(int64_t now);
/* When the next is due; -1 where there is none. */
int64_t queue_next_at(void);
/* Drops what is under way to or from a node. */
void queue_forget(const struct node *node);

#endif
