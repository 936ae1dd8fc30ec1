#include "queue.h"

#include <stdlib.h>

/* A binary heap; what does not fit is lost, as in any full buffer. */
#define MAX_TRANSITS 65536

static struct transit *heap[MAX_TRANSITS];
static size_t count;
static uint64_t order;

static bool before(const struct transit *a, const struct transit *b) {
  return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void swap(size_t a, size_t b) {
  struct transit *kept = heap[a];
  heap[a] = heap[b];
  heap[b] = kept;
}

static void sift_down(size_t index) {
  for (;;) {
    size_t least = index;
    for (size_t child = 2 * index + 1; child <= 2 * index + 2 && child < count; child++) {
      if (before(heap[child], heap[least])) least = child;
    }
    if (least == index) return;
    swap(index, least);
    index = least;
  }
}

void queue_put(int64_t at, struct node *node, bool up, const struct packet *packet) {
  if (count == MAX_TRANSITS) return;
  struct transit *transit = malloc(sizeof *transit);
  if (transit == NULL) return;
  transit->at = at;
  transit->order = order++;
  transit->node = node;
  transit->up = up;
  transit->packet = *packet;
  size_t index = count++;
  heap[index] = transit;
  while (index > 0 && before(heap[index], heap[(index - 1) / 2])) {
    swap(index, (index - 1) / 2);
    index = (index - 1) / 2;
  }
}

struct transit *queue_take(int64_t now) {
  if (count == 0 || heap[0]->at > now) return NULL;
  struct transit *taken = heap[0];
  heap[0] = heap[--count];
  sift_down(0);
  return taken;
}

int64_t queue_next_at(void) { return count == 0 ? -1 : heap[0]->at; }

void queue_forget(const struct node *node) {
  size_t kept = 0;
  for (size_t index = 0; index < count; index++) {
    if (heap[index]->node == node) free(heap[index]);
    else heap[kept++] = heap[index];
  }
  count = kept;
  for (size_t index = count / 2; index-- > 0;) sift_down(index);
}
