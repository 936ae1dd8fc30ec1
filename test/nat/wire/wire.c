/*
 * The wire between the laboratory's namespaces, with the routers that Linux cannot be. Commands come
 * as lines on stdin, each is answered by a line on stdout; the end of stdin ends it.
 *
 *   seed NUMBER
 *   link NAME PARENT DELAY_US NETNS DEVICE         a TUN device in that namespace; PARENT: core or a box
 *   box NAME PARENT DELAY_US ADDRESS               a router below PARENT with that outer address
 *   rules NAME MAPPING FILTERING PORTS HAIRPIN LIFETIME_MS
 *                                                  0 independent, 1 address, 2 address and port;
 *                                                  0 preserved, 1 sequential, 2 random; 0 or 1
 *   isolate NAME                                   who is below a box reaches nobody else there
 *   at NAME PREFIX BITS                            where a node is reached, one more
 *   move NAME ADDRESS                              a box or link of one address gets another
 *   loss NAME PERMILLE                             of the packets on its line, in each direction
 *   cut NAME 0|1
 *   rebind NAME                                    a box forgets its mappings
 *   count NAME                                     answers: packets up, down, lost
 *   mappings NAME                                  answers: how many a box has
 *   remove NAME
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "chance.h"
#include "queue.h"
#include "tree.h"

#define MAX_LINKS 64
#define MAX_WORDS 8
#define LINE_BYTES 256

static int own_namespace;

static int64_t now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* A TUN device belongs to the namespace in which /dev/net/tun was opened. */
static int open_tun(const char *netns, const char *device) {
  char path[LINE_BYTES];
  snprintf(path, sizeof path, "/run/netns/%s", netns);
  int namespace = open(path, O_RDONLY | O_CLOEXEC);
  if (namespace < 0) return -1;
  int tun = -1;
  if (setns(namespace, CLONE_NEWNET) == 0) {
    tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", device);
    if (tun >= 0 && ioctl(tun, TUNSETIFF, &request) < 0) {
      close(tun);
      tun = -1;
    }
    if (setns(own_namespace, CLONE_NEWNET) != 0) abort();
  }
  close(namespace);
  return tun;
}

static void put_at(struct node *node, struct ip ip, int bits) {
  if (node->prefix_count == MAX_PREFIXES) return;
  node->prefixes[node->prefix_count++] = (struct prefix){.ip = ip, .bits = bits};
}

/* What hangs on the tree. @return what was wrong; NULL: nothing. */
static const char *build(int count, char **words) {
  bool is_box = strcmp(words[0], "box") == 0;
  struct ip address;
  if (count != (is_box ? 5 : 6)) return "words";
  if (tree_find(words[1]) != NULL) return "there is one";
  struct node *parent = tree_find(words[2]);
  if (parent == NULL && strcmp(words[2], "core") != 0) return "no such parent";
  if (is_box && !ip_parse(words[4], &address)) return "address";
  int tun = is_box ? -1 : open_tun(words[4], words[5]);
  if (!is_box && tun < 0) return strerror(errno);
  struct node *node = tree_add(words[1], parent, atoll(words[3]));
  node->tun = tun;
  node->is_box = is_box;
  if (is_box) {
    nat_init(&node->nat, (struct nat_rules){.lifetime_us = 120LL * 1000000}, address);
    put_at(node, address, 128);
  }
  return NULL;
}

/* The same mappings, seen at another address from now on. */
static const char *move(struct node *node, const char *text) {
  struct ip address;
  if (!ip_parse(text, &address)) return "address";
  for (int index = 0; index < node->prefix_count; index++) {
    if (ip_is_v4(&node->prefixes[index].ip) == ip_is_v4(&address)) {
      node->prefixes[index] = (struct prefix){.ip = address, .bits = 128};
    }
  }
  node->nat.address = address;
  return NULL;
}

static const char *change(struct node *node, int count, char **words, char *answer) {
  const char *verb = words[0];
  struct ip ip;
  if (strcmp(verb, "count") == 0) {
    snprintf(answer, LINE_BYTES, "%llu %llu %llu", (unsigned long long)node->packets_up,
             (unsigned long long)node->packets_down, (unsigned long long)node->lost);
  } else if (strcmp(verb, "at") == 0 && count == 4 && ip_parse(words[2], &ip)) {
    put_at(node, ip, atoi(words[3]) + (ip_is_v4(&ip) ? 96 : 0));
  } else if (strcmp(verb, "move") == 0 && count == 3) {
    return move(node, words[2]);
  } else if (strcmp(verb, "loss") == 0 && count == 3) {
    node->loss_permille = atoi(words[2]);
  } else if (strcmp(verb, "cut") == 0 && count == 3) {
    node->cut = atoi(words[2]) != 0;
  } else if (strcmp(verb, "remove") == 0) {
    return tree_remove(node) ? NULL : "something hangs on it";
  } else if (!node->is_box) {
    return "no such command for a link";
  } else if (strcmp(verb, "rules") == 0 && count == 7) {
    node->nat.rules = (struct nat_rules){
        .mapping = (enum dependence)atoi(words[2]),
        .filtering = (enum dependence)atoi(words[3]),
        .ports = (enum ports)atoi(words[4]),
        .hairpin = atoi(words[5]) != 0,
        .lifetime_us = atoll(words[6]) * 1000,
    };
  } else if (strcmp(verb, "isolate") == 0) {
    node->isolates = true;
  } else if (strcmp(verb, "rebind") == 0) {
    nat_rebind(&node->nat);
  } else if (strcmp(verb, "mappings") == 0) {
    snprintf(answer, LINE_BYTES, "%zu", node->nat.mapping_count);
  } else {
    return "no such command";
  }
  return NULL;
}

static void obey(char *line) {
  char *words[MAX_WORDS];
  int count = 0;
  char answer[LINE_BYTES] = "";
  for (char *word = strtok(line, " "); word != NULL && count < MAX_WORDS; word = strtok(NULL, " ")) {
    words[count++] = word;
  }
  const char *wrong = "words";
  struct node *node = count < 2 ? NULL : tree_find(words[1]);
  if (count == 2 && strcmp(words[0], "seed") == 0) {
    chance_seed(strtoull(words[1], NULL, 10));
    wrong = NULL;
  } else if (count > 0 && (strcmp(words[0], "link") == 0 || strcmp(words[0], "box") == 0)) {
    wrong = build(count, words);
  } else if (count >= 2) {
    wrong = node == NULL ? "no such node" : change(node, count, words, answer);
  }
  if (wrong == NULL) printf("ok %s\n", answer);
  else printf("error %s\n", wrong);
  fflush(stdout);
}

/* @return false at the end of stdin. */
static bool read_commands(void) {
  static char buffer[4096];
  static size_t held;
  ssize_t got = read(STDIN_FILENO, buffer + held, sizeof buffer - held);
  if (got <= 0) return false;
  held += (size_t)got;
  char *line = buffer;
  for (char *end; (end = memchr(line, '\n', held - (size_t)(line - buffer))) != NULL; line = end + 1) {
    *end = '\0';
    obey(line);
  }
  held -= (size_t)(line - buffer);
  memmove(buffer, line, held);
  return held < sizeof buffer;
}

static void read_packets(struct node *node) {
  struct packet packet;
  for (;;) {
    ssize_t got = read(node->tun, packet.bytes, sizeof packet.bytes);
    if (got <= 0) return;
    packet.length = (size_t)got;
    tree_up(node, &packet, now_us());
  }
}

/* Its namespace is gone. */
static void close_tun(struct node *node) {
  close(node->tun);
  node->tun = -1;
}

static void deliver(void) {
  struct transit *transit;
  while ((transit = queue_take(now_us())) != NULL) {
    tree_arrive(transit->node, transit->up, &transit->packet, now_us());
    free(transit);
  }
}

int main(void) {
  own_namespace = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  /* It has little to do, and that at the right instant; where it may not come first, it is as it is. */
  (void)setpriority(PRIO_PROCESS, 0, -20);
  for (;;) {
    struct pollfd polled[MAX_LINKS + 1] = {{.fd = STDIN_FILENO, .events = POLLIN}};
    struct node *links[MAX_LINKS + 1];
    nfds_t count = 1;
    for (struct node *node = tree_nodes; node != NULL && count <= MAX_LINKS; node = node->next) {
      if (node->tun < 0) continue;
      links[count] = node;
      polled[count++] = (struct pollfd){.fd = node->tun, .events = POLLIN};
    }
    int64_t next_at = queue_next_at();
    int64_t wait_us = next_at < 0 ? 0 : next_at - now_us();
    if (wait_us < 0) wait_us = 0;
    struct timespec wait = {.tv_sec = wait_us / 1000000, .tv_nsec = wait_us % 1000000 * 1000};
    if (ppoll(polled, count, next_at < 0 ? NULL : &wait, NULL) < 0 && errno != EINTR) return 1;
    deliver();
    for (nfds_t index = 1; index < count; index++) {
      if (polled[index].revents & POLLIN) read_packets(links[index]);
      if (polled[index].revents & POLLERR) close_tun(links[index]);
    }
    if ((polled[0].revents & (POLLIN | POLLHUP)) && !read_commands()) return 0;
  }
}
