/* IP packets as they pass: what a router reads in them and rewrites. */
#ifndef PACKET_H
#define PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAX_PACKET_BYTES 2048

struct packet {
  size_t length;
  uint8_t bytes[MAX_PACKET_BYTES];
};

/* An address of either family; IPv4 ones are mapped into IPv6 (RFC 4291 2.5.5.2). */
struct ip {
  uint8_t bytes[16];
};

/* The ends of a packet. Ports are 0 for what has none. */
struct flow {
  int version;
  int protocol;
  struct ip from, to;
  uint16_t from_port, to_port;
};

enum { PROTOCOL_TCP = 6, PROTOCOL_UDP = 17 };

/* Reads the ends; false for what is no whole, unfragmented IP packet. */
bool packet_read(const struct packet *packet, struct flow *flow);

/* Rewrites one end of an IPv4 packet of UDP or TCP, checksums included (RFC 1624). */
void packet_set_source(struct packet *packet, struct ip ip, uint16_t port);
void packet_set_destination(struct packet *packet, struct ip ip, uint16_t port);

/* So many routers on the way; false where the packet does not live so long. */
bool packet_age(struct packet *packet, int hops);

bool ip_parse(const char *text, struct ip *ip);
bool ip_equal(const struct ip *a, const struct ip *b);
bool ip_in_prefix(const struct ip *ip, const struct ip *prefix, int bits);
bool ip_is_v4(const struct ip *ip);

#endif
