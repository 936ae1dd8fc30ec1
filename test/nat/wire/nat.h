/*
 * A network address translator as RFC 4787 describes them: mapping and filtering apart, each
 * endpoint-independent, address-dependent, or address- and port-dependent. IPv4; TCP is always
 * mapped and filtered by address and port.
 */
#ifndef NAT_H
#define NAT_H

#include "packet.h"

enum dependence { INDEPENDENT, ON_ADDRESS, ON_ADDRESS_AND_PORT };
enum ports { PRESERVED, SEQUENTIAL, RANDOM };

struct nat_rules {
  enum dependence mapping;
  enum dependence filtering;
  enum ports ports;
  bool hairpin;
  /* A mapping, and leave to answer, last so long after the last packet from inside (RFC 4787 4.3). */
  int64_t lifetime_us;
};

struct permission {
  struct ip ip;
  uint16_t port;
  int64_t used_at;
};

struct mapping {
  int protocol;
  struct ip inside;
  uint16_t inside_port;
  /* Only as much of it counts as the mapping depends on. */
  struct ip remote;
  uint16_t remote_port;
  uint16_t outside_port;
  int64_t used_at;
  struct permission *permissions;
  size_t permission_count;
};

struct nat {
  struct nat_rules rules;
  struct ip address;
  struct mapping *mappings;
  size_t mapping_count;
  uint16_t next_port;
};

void nat_init(struct nat *nat, struct nat_rules rules, struct ip address);
/* Forgets all mappings, as a router does that starts anew; new ones get other ports. */
void nat_rebind(struct nat *nat);
/* Rewrites a packet on its way out; false where it cannot go. */
bool nat_outbound(struct nat *nat, struct packet *packet, int64_t now);
/* Rewrites a packet on its way in; false where it is not let in. */
bool nat_inbound(struct nat *nat, struct packet *packet, int64_t now);

#endif
