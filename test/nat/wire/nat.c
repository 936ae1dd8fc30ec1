#include "nat.h"

#include <stdlib.h>
#include <string.h>

#include "chance.h"

#define LOWEST_PORT 1024
#define MAX_MAPPINGS 16384
/* A TCP connection is never forgotten while a cell runs. */
#define TCP_LIFETIME_US (3600LL * 1000 * 1000)

static bool matches(enum dependence on, struct ip a, uint16_t a_port, struct ip b, uint16_t b_port) {
  if (on == INDEPENDENT) return true;
  return ip_equal(&a, &b) && (on == ON_ADDRESS || a_port == b_port);
}

static enum dependence mapping_of(const struct nat *nat, int protocol) {
  return protocol == PROTOCOL_UDP ? nat->rules.mapping : ON_ADDRESS_AND_PORT;
}

static enum dependence filtering_of(const struct nat *nat, int protocol) {
  return protocol == PROTOCOL_UDP ? nat->rules.filtering : ON_ADDRESS_AND_PORT;
}

static int64_t lifetime_of(const struct nat *nat, int protocol) {
  return protocol == PROTOCOL_UDP ? nat->rules.lifetime_us : TCP_LIFETIME_US;
}

static void forget(struct nat *nat, size_t index) {
  free(nat->mappings[index].permissions);
  nat->mappings[index] = nat->mappings[--nat->mapping_count];
}

static void expire(struct nat *nat, int64_t now) {
  for (size_t index = nat->mapping_count; index-- > 0;) {
    const struct mapping *mapping = &nat->mappings[index];
    if (now - mapping->used_at > lifetime_of(nat, mapping->protocol)) forget(nat, index);
  }
}

static struct mapping *at_port(struct nat *nat, int protocol, uint16_t port) {
  for (size_t index = 0; index < nat->mapping_count; index++) {
    struct mapping *mapping = &nat->mappings[index];
    if (mapping->protocol == protocol && mapping->outside_port == port) return mapping;
  }
  return NULL;
}

static uint16_t random_port(void) {
  return (uint16_t)(LOWEST_PORT + chance_below(65536 - LOWEST_PORT));
}

static uint16_t after(uint16_t port) { return port == 65535 ? LOWEST_PORT : (uint16_t)(port + 1); }

static uint16_t free_port(struct nat *nat, const struct flow *flow) {
  uint16_t port = nat->rules.ports == PRESERVED   ? flow->from_port
                  : nat->rules.ports == SEQUENTIAL ? nat->next_port
                                                   : random_port();
  while (at_port(nat, flow->protocol, port) != NULL) {
    port = nat->rules.ports == RANDOM ? random_port() : after(port);
  }
  if (nat->rules.ports == SEQUENTIAL) nat->next_port = after(port);
  return port;
}

static struct mapping *find_or_make(struct nat *nat, const struct flow *flow, int64_t now) {
  enum dependence on = mapping_of(nat, flow->protocol);
  for (size_t index = 0; index < nat->mapping_count; index++) {
    struct mapping *mapping = &nat->mappings[index];
    if (mapping->protocol == flow->protocol && mapping->inside_port == flow->from_port &&
        ip_equal(&mapping->inside, &flow->from) &&
        matches(on, mapping->remote, mapping->remote_port, flow->to, flow->to_port)) {
      return mapping;
    }
  }
  if (nat->mapping_count == MAX_MAPPINGS) return NULL;
  struct mapping made = {
      .protocol = flow->protocol,
      .inside = flow->from,
      .inside_port = flow->from_port,
      .remote = flow->to,
      .remote_port = flow->to_port,
      .outside_port = free_port(nat, flow),
      .used_at = now,
  };
  nat->mappings[nat->mapping_count] = made;
  return &nat->mappings[nat->mapping_count++];
}

static void permit(struct mapping *mapping, const struct flow *flow, int64_t now) {
  for (size_t index = 0; index < mapping->permission_count; index++) {
    struct permission *permission = &mapping->permissions[index];
    if (permission->port == flow->to_port && ip_equal(&permission->ip, &flow->to)) {
      permission->used_at = now;
      return;
    }
  }
  size_t bytes = (mapping->permission_count + 1) * sizeof *mapping->permissions;
  mapping->permissions = realloc(mapping->permissions, bytes);
  if (mapping->permissions == NULL) abort();
  mapping->permissions[mapping->permission_count++] =
      (struct permission){.ip = flow->to, .port = flow->to_port, .used_at = now};
}

static bool is_permitted(const struct nat *nat, const struct mapping *mapping,
                         const struct flow *flow, int64_t now) {
  enum dependence on = filtering_of(nat, flow->protocol);
  if (on == INDEPENDENT) return true;
  for (size_t index = 0; index < mapping->permission_count; index++) {
    const struct permission *permission = &mapping->permissions[index];
    if (now - permission->used_at <= lifetime_of(nat, flow->protocol) &&
        matches(on, permission->ip, permission->port, flow->from, flow->from_port)) {
      return true;
    }
  }
  return false;
}

/* What is no IPv4 packet of UDP or TCP, a ping or its error, is not translated. */
static bool read_translatable(const struct packet *packet, struct flow *flow) {
  if (!packet_read(packet, flow) || flow->version != 4) return false;
  return flow->protocol == PROTOCOL_UDP || flow->protocol == PROTOCOL_TCP;
}

void nat_init(struct nat *nat, struct nat_rules rules, struct ip address) {
  memset(nat, 0, sizeof *nat);
  nat->rules = rules;
  nat->address = address;
  nat->mappings = calloc(MAX_MAPPINGS, sizeof *nat->mappings);
  if (nat->mappings == NULL) abort();
  nat->next_port = random_port();
}

void nat_rebind(struct nat *nat) {
  while (nat->mapping_count > 0) forget(nat, nat->mapping_count - 1);
  nat->next_port = random_port();
  /* A router that preserved ports has lost that knowledge: it would give the same again. */
  if (nat->rules.ports == PRESERVED) nat->rules.ports = RANDOM;
}

bool nat_outbound(struct nat *nat, struct packet *packet, int64_t now) {
  struct flow flow;
  if (!read_translatable(packet, &flow)) return false;
  expire(nat, now);
  struct mapping *mapping = find_or_make(nat, &flow, now);
  if (mapping == NULL) return false;
  mapping->used_at = now;
  permit(mapping, &flow, now);
  packet_set_source(packet, nat->address, mapping->outside_port);
  return true;
}

bool nat_inbound(struct nat *nat, struct packet *packet, int64_t now) {
  struct flow flow;
  if (!read_translatable(packet, &flow)) return false;
  expire(nat, now);
  struct mapping *mapping = at_port(nat, flow.protocol, flow.to_port);
  if (mapping == NULL || !is_permitted(nat, mapping, &flow, now)) return false;
  packet_set_destination(packet, mapping->inside, mapping->inside_port);
  return true;
}
