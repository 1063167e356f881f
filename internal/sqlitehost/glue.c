#include "glue.h"

#include <stdlib.h>

#include "_cgo_export.h"

// The driver's package has SQLite; the reference is weak because this package
// is also linked alone, while cgo looks at it.
extern int sqlite3_config(int, ...) __attribute__((weak));

enum { config_pcache2 = 18 };

// cache is what SQLite holds for a cache: its number in Go.
typedef struct cache {
  uint32_t id;
  uint32_t unpinned;
  uint32_t unpins[kvferry_unpins_max];
} cache;

// taken empties the list of unpins for a call that carries them.
static uint32_t taken(cache *c) {
  uint32_t n = c->unpinned;
  c->unpinned = 0;
  return n;
}

static int pcache_init(void *arg) { return 0; }

static sqlite3_pcache *pcache_create(int page, int extra, int purgeable) {
  cache *c = calloc(1, sizeof *c);
  if (c == 0) return 0;
  c->id = kvferryCreate(page, extra, purgeable);
  if (c->id == 0) {
    free(c);
    return 0;
  }
  return (sqlite3_pcache *)c;
}

static void pcache_cachesize(sqlite3_pcache *p, int n) {
  cache *c = (cache *)p;
  kvferryCachesize(c->id, c->unpins, taken(c), n);
}

static int pcache_pagecount(sqlite3_pcache *p) {
  cache *c = (cache *)p;
  return kvferryPagecount(c->id, c->unpins, taken(c));
}

static sqlite3_pcache_page *pcache_fetch(sqlite3_pcache *p, unsigned key, int create) {
  cache *c = (cache *)p;
  return kvferryFetch(c->id, c->unpins, taken(c), key, create);
}

static void pcache_unpin(sqlite3_pcache *p, sqlite3_pcache_page *page, int discard) {
  cache *c = (cache *)p;
  c->unpins[c->unpinned++] = ((kvferry_page *)page)->index << 1 | (discard != 0);
  if (c->unpinned == kvferry_unpins_max) kvferryUnpin(c->id, c->unpins, taken(c));
}

static void pcache_rekey(sqlite3_pcache *p, sqlite3_pcache_page *page, unsigned from, unsigned to) {
  cache *c = (cache *)p;
  kvferryRekey(c->id, c->unpins, taken(c), ((kvferry_page *)page)->index, from, to);
}

static void pcache_truncate(sqlite3_pcache *p, unsigned limit) {
  cache *c = (cache *)p;
  kvferryTruncate(c->id, c->unpins, taken(c), limit);
}

static void pcache_destroy(sqlite3_pcache *p) {
  cache *c = (cache *)p;
  kvferryDestroy(c->id, c->unpins, taken(c));
  free(c);
}

static void pcache_shrink(sqlite3_pcache *p) {
  cache *c = (cache *)p;
  kvferryShrink(c->id, c->unpins, taken(c));
}

int kvferry_register(void) {
  // SQLite copies the table.
  sqlite3_pcache_methods2 methods = {
      1,           0,            pcache_init,  0,              pcache_create,  pcache_cachesize, pcache_pagecount,
      pcache_fetch, pcache_unpin, pcache_rekey, pcache_truncate, pcache_destroy, pcache_shrink,
  };
  return sqlite3_config(config_pcache2, &methods);
}
