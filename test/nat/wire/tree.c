#include "tree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chance.h"
#include "queue.h"

/* Between two sites; a packet that is to open the way only (a TTL of 4 to 7) dies there. */
#define CORE_HOPS 8

struct node *tree_nodes;

struct node *tree_find(const char *name) {
  for (struct node *node = tree_nodes; node != NULL; node = node->next) {
    if (strcmp(node->name, name) == 0) return node;
  }
  return NULL;
}

struct node *tree_add(const char *name, struct node *parent, int64_t delay_us) {
  struct node *node = calloc(1, sizeof *node);
  if (node == NULL) abort();
  snprintf(node->name, sizeof node->name, "%s", name);
  node->parent = parent;
  node->delay_us = delay_us;
  node->tun = -1;
  node->next = tree_nodes;
  tree_nodes = node;
  return node;
}

bool tree_remove(struct node *node) {
  for (const struct node *other = tree_nodes; other != NULL; other = other->next) {
    if (other->parent == node) return false;
  }
  for (struct node **at = &tree_nodes; *at != NULL; at = &(*at)->next) {
    if (*at != node) continue;
    *at = node->next;
    break;
  }
  queue_forget(node);
  if (node->tun >= 0) close(node->tun);
  if (node->is_box) {
    nat_rebind(&node->nat);
    free(node->nat.mappings);
  }
  free(node);
  return true;
}

static bool is_at(const struct node *node, const struct ip *ip) {
  for (int index = 0; index < node->prefix_count; index++) {
    const struct prefix *prefix = &node->prefixes[index];
    if (ip_in_prefix(ip, &prefix->ip, prefix->bits)) return true;
  }
  return false;
}

static void carry(struct node *node, bool up, const struct packet *packet, int64_t now) {
  if (node->cut || (int)chance_below(1000) < node->loss_permille) {
    node->lost++;
    return;
  }
  if (up) node->packets_up++;
  else node->packets_down++;
  queue_put(now + node->delay_us, node, up, packet);
}

/* Within what hangs on `realm` (NULL: the core). @param from who sends it; NULL: from above. */
static void route(struct node *realm, struct node *from, struct packet *packet, int64_t now) {
  struct flow flow;
  if (!packet_read(packet, &flow)) return;
  if (realm == NULL && !packet_age(packet, CORE_HOPS)) return;
  for (struct node *node = tree_nodes; node != NULL; node = node->next) {
    if (node->parent != realm || node == from || !is_at(node, &flow.to)) continue;
    if (from != NULL && realm != NULL && realm->isolates) return;
    carry(node, false, packet, now);
    return;
  }
  if (realm == NULL || from == NULL) return;
  if (!ip_equal(&flow.to, &realm->nat.address)) {
    tree_up(realm, packet, now);
    return;
  }
  /* Hairpinning, with the outer address as the source (RFC 4787 6, REQ-9). */
  if (!realm->nat.rules.hairpin || !packet_age(packet, 1)) return;
  if (!nat_outbound(&realm->nat, packet, now) || !nat_inbound(&realm->nat, packet, now)) return;
  route(realm, NULL, packet, now);
}

void tree_up(struct node *node, struct packet *packet, int64_t now) {
  struct flow flow;
  /* Like any router, a box takes one from the time to live, and first of all. */
  if (node->is_box && (!packet_age(packet, 1) || !nat_outbound(&node->nat, packet, now))) return;
  if (!packet_read(packet, &flow) || !is_at(node, &flow.from)) return;
  carry(node, true, packet, now);
}

void tree_arrive(struct node *node, bool up, struct packet *packet, int64_t now) {
  if (up) {
    route(node->parent, node, packet, now);
  } else if (node->is_box) {
    if (packet_age(packet, 1) && nat_inbound(&node->nat, packet, now)) {
      route(node, NULL, packet, now);
    }
  } else if (write(node->tun, packet->bytes, packet->length) < 0) {
    /* Its namespace is gone, or its buffers are full: lost. */
    node->lost++;
  }
}
