/*
 * The network: a core, below it boxes (routers that translate addresses) and links (a TUN device in
 * some namespace). Each hangs by one line, with a delay, on the core or on a box.
 */
#ifndef TREE_H
#define TREE_H

#include "nat.h"

#define NAME_BYTES 32
#define MAX_PREFIXES 8

struct prefix {
  struct ip ip;
  int bits;
};

struct node {
  char name[NAME_BYTES];
  struct node *parent; /* NULL: the core */
  struct node *next;
  /* At which addresses it is reached, and from which it may send (BCP 38). */
  struct prefix prefixes[MAX_PREFIXES];
  int prefix_count;
  int64_t delay_us;
  int loss_permille;
  bool cut;
  bool is_box;
  /* Of a box: those below it reach each other only through its outer address, if at all. */
  bool isolates;
  struct nat nat;
  /* Of a link. */
  int tun;
  uint64_t packets_up, packets_down, lost;
};

extern struct node *tree_nodes;

struct node *tree_find(const char *name);
struct node *tree_add(const char *name, struct node *parent, int64_t delay_us);
/* False while something hangs on it. */
bool tree_remove(struct node *node);
/* A packet leaves a node towards the core. */
void tree_up(struct node *node, struct packet *packet, int64_t now);
/* A packet comes out at the end of a line. */
void tree_arrive(struct node *node, bool up, struct packet *packet, int64_t now);

#endif
