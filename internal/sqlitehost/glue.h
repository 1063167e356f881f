// The part of SQLite's C interface that a page cache needs, declared here so
// that no header must be found: the library comes with the Go driver.
#ifndef KVFERRY_SQLITEHOST_GLUE_H
#define KVFERRY_SQLITEHOST_GLUE_H

#include <stdint.h>

typedef struct sqlite3_pcache sqlite3_pcache;

typedef struct sqlite3_pcache_page {
  void *pBuf;
  void *pExtra;
} sqlite3_pcache_page;

typedef struct sqlite3_pcache_methods2 {
  int iVersion;
  void *pArg;
  int (*xInit)(void *);
  void (*xShutdown)(void *);
  sqlite3_pcache *(*xCreate)(int, int, int);
  void (*xCachesize)(sqlite3_pcache *, int);
  int (*xPagecount)(sqlite3_pcache *);
  sqlite3_pcache_page *(*xFetch)(sqlite3_pcache *, unsigned, int);
  void (*xUnpin)(sqlite3_pcache *, sqlite3_pcache_page *, int);
  void (*xRekey)(sqlite3_pcache *, sqlite3_pcache_page *, unsigned, unsigned);
  void (*xTruncate)(sqlite3_pcache *, unsigned);
  void (*xDestroy)(sqlite3_pcache *);
  void (*xShrink)(sqlite3_pcache *);
} sqlite3_pcache_methods2;

// kvferry_page lies in a page's header: what SQLite knows the page by, and
// what Go knows it by.
typedef struct kvferry_page {
  sqlite3_pcache_page page;
  uint32_t index;
} kvferry_page;

// kvferry_unpins are the pages that SQLite let go since the last call into Go.
// Each is an index and, in the lowest bit, whether it must be discarded. They
// travel with the next call on the same cache, in front of it, so that the cache
// sees all calls in their order and a transition is saved.
enum { kvferry_unpins_max = 64 };

// kvferry_register registers the page cache. SQLite must not be initialised
// yet. It returns SQLite's result code.
int kvferry_register(void);

#endif
