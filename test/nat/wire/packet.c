#include "packet.h"

#include <arpa/inet.h>
#include <string.h>

static const uint8_t V4_MAPPED[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static struct ip from_v4(const uint8_t *bytes) {
  struct ip ip;
  memcpy(ip.bytes, V4_MAPPED, sizeof V4_MAPPED);
  memcpy(ip.bytes + sizeof V4_MAPPED, bytes, 4);
  return ip;
}

static uint16_t read16(const uint8_t *at) { return (uint16_t)(at[0] << 8 | at[1]); }

static void write16(uint8_t *at, uint16_t value) {
  at[0] = (uint8_t)(value >> 8);
  at[1] = (uint8_t)value;
}

bool packet_read(const struct packet *packet, struct flow *flow) {
  const uint8_t *bytes = packet->bytes;
  size_t header;
  memset(flow, 0, sizeof *flow);
  if (packet->length < 20) return false;
  flow->version = bytes[0] >> 4;
  if (flow->version == 4) {
    header = (size_t)(bytes[0] & 15) * 4;
    if (header < 20 || (read16(bytes + 6) & 0x3fff) != 0) return false;
    flow->protocol = bytes[9];
    flow->from = from_v4(bytes + 12);
    flow->to = from_v4(bytes + 16);
  } else if (flow->version == 6 && packet->length >= 40) {
    header = 40;
    flow->protocol = bytes[6];
    memcpy(flow->from.bytes, bytes + 8, 16);
    memcpy(flow->to.bytes, bytes + 24, 16);
  } else {
    return false;
  }
  if (flow->protocol != PROTOCOL_TCP && flow->protocol != PROTOCOL_UDP) return true;
  if (packet->length < header + (flow->protocol == PROTOCOL_TCP ? 20 : 8)) return false;
  flow->from_port = read16(bytes + header);
  flow->to_port = read16(bytes + header + 2);
  return true;
}

/* RFC 1624: HC' = ~(~HC + ~m + m'), for each 16-bit word that changes. */
static void adjust(uint8_t *checksum, const uint8_t *before, const uint8_t *after, size_t bytes) {
  uint32_t sum = (uint16_t)~read16(checksum);
  for (size_t at = 0; at < bytes; at += 2) {
    sum += (uint16_t)~read16(before + at);
    sum += read16(after + at);
  }
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  write16(checksum, (uint16_t)~sum);
}

/* @param end 0 for the source, 1 for the destination. */
static void set_end(struct packet *packet, int end, struct ip ip, uint16_t port) {
  uint8_t *bytes = packet->bytes;
  uint8_t *transport = bytes + (size_t)(bytes[0] & 15) * 4;
  bool is_udp = bytes[9] == PROTOCOL_UDP;
  uint8_t *checksum = transport + (is_udp ? 6 : 16);
  uint8_t *address_at = bytes + 12 + 4 * end;
  uint8_t *port_at = transport + 2 * end;
  const uint8_t *address = ip.bytes + 12;
  uint8_t new_port[2];
  write16(new_port, port);
  adjust(bytes + 10, address_at, address, 4);
  /* A UDP checksum of 0 means that there is none. */
  if (!is_udp || read16(checksum) != 0) {
    adjust(checksum, address_at, address, 4);
    adjust(checksum, port_at, new_port, 2);
    if (is_udp && read16(checksum) == 0) write16(checksum, 0xffff);
  }
  memcpy(address_at, address, 4);
  memcpy(port_at, new_port, 2);
}

void packet_set_source(struct packet *packet, struct ip ip, uint16_t port) {
  set_end(packet, 0, ip, port);
}

void packet_set_destination(struct packet *packet, struct ip ip, uint16_t port) {
  set_end(packet, 1, ip, port);
}

bool packet_age(struct packet *packet, int hops) {
  uint8_t *bytes = packet->bytes;
  bool is_v4 = bytes[0] >> 4 == 4;
  uint8_t *ttl = bytes + (is_v4 ? 8 : 7);
  if (*ttl <= hops) return false;
  uint8_t before[2] = {bytes[8], bytes[9]};
  *ttl = (uint8_t)(*ttl - hops);
  if (is_v4) adjust(bytes + 10, before, bytes + 8, 2);
  return true;
}

bool ip_parse(const char *text, struct ip *ip) {
  uint8_t v4[4];
  if (inet_pton(AF_INET, text, v4) == 1) {
    *ip = from_v4(v4);
    return true;
  }
  return inet_pton(AF_INET6, text, ip->bytes) == 1;
}

bool ip_equal(const struct ip *a, const struct ip *b) {
  return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

bool ip_is_v4(const struct ip *ip) { return memcmp(ip->bytes, V4_MAPPED, sizeof V4_MAPPED) == 0; }

bool ip_in_prefix(const struct ip *ip, const struct ip *prefix, int bits) {
  int whole = bits / 8;
  int rest = bits % 8;
  if (memcmp(ip->bytes, prefix->bytes, (size_t)whole) != 0) return false;
  return rest == 0 || ((ip->bytes[whole] ^ prefix->bytes[whole]) >> (8 - rest)) == 0;
}
