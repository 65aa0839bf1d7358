/* The store loses nothing that was whole and never gives what is not: processes killed at any moment, files cut and
 * altered, no room, no directory, hostile archives. */
#include "tests/unit/temporary.h"

#include "driver/output.h"
#include "runtime/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PLENTY = 1 << 30, PATH_BYTES = 4096 };

typedef struct fixture {
  char directory[TEMPORARY_BYTES];
  arena *memory;
  store *s;
} fixture;

static int set_up(void **state) {
  fixture *f = calloc(1, sizeof *f);
  temporary_make(f->directory);
  f->memory = arena_create();
  f->s = store_open(f->directory, PLENTY);
  *state = f;
  return 0;
}

static int tear_down(void **state) {
  fixture *f = *state;
  store_close(f->s);
  arena_destroy(f->memory);
  temporary_remove(f->directory);
  free(f);
  return 0;
}

/* -- Entries whose contents follow from their key ------------------------------------------------------------------ */

static store_entry content_of(const char *key, arena *memory) {
  uint64_t state = hash128_bytes(key, strlen(key)).low;
  store_entry e = {.count = 3};
  static const char *const names[] = {"kernel.cu", "kernel.cubin", "kernel.tl"};
  for (int i = 0; i < e.count; i++) {
    size_t size = (size_t)(state % 5000) * (size_t)i;
    unsigned char *data = arena_alloc(memory, size + 1);
    for (size_t b = 0; b < size; b++) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      data[b] = (unsigned char)(state >> 33);
    }
    e.files[i] = (store_file){names[i], data, size};
  }
  return e;
}

static bool is_right(const store_entry *e, const char *key, arena *memory) {
  store_entry expected = content_of(key, memory);
  if (e->count != expected.count + 1) return false;
  for (int i = 0; i < expected.count; i++) {
    const store_file *file = store_entry_file(e, expected.files[i].name);
    if (!file || file->size != expected.files[i].size || memcmp(file->data, expected.files[i].data, file->size) != 0)
      return false;
  }
  const store_file *k = store_entry_file(e, "key");
  return k && strcmp(k->data, key) == 0;
}

static const char *key_named(int i, arena *memory) { return arena_printf(memory, "key %d", i); }

static void add(fixture *f, const char *key) {
  runtime_message message = {""};
  store_entry e = content_of(key, f->memory);
  if (store_add(f->s, key, &e, &message) != RUNTIME_OK) fail_msg("%s", message.text);
}

static bool finds(fixture *f, const char *key) {
  store_entry e;
  if (!store_find(f->s, key, f->memory, &e)) return false;
  assert_true(is_right(&e, key, f->memory));
  return true;
}

static const char *entry_path(fixture *f, const char *key, const char *file) {
  char name[HASH128_TEXT_BYTES];
  return arena_printf(f->memory, "%s/1/%s/%s", f->directory, hash128_text(hash128_bytes(key, strlen(key)), name), file);
}

static int count_names(fixture *f) {
  int count = 0;
  DIR *d = opendir(arena_printf(f->memory, "%s/1", f->directory));
  for (struct dirent *e; d && (e = readdir(d));)
    count += e->d_name[0] != '.';
  if (d) closedir(d);
  return count;
}

/* -- Tests --------------------------------------------------------------------------------------------------------- */

static void keeps_and_finds(void **state) {
  fixture *f = *state;
  assert_false(finds(f, "one"));
  add(f, "one");
  add(f, "two\nwith a line\n");
  add(f, "one"); /* again: the first stays */
  assert_true(finds(f, "one"));
  assert_true(finds(f, "two\nwith a line\n"));
  assert_false(finds(f, "three"));
  int count;
  store_item *items = store_list(f->s, f->memory, &count);
  assert_int_equal(count, 2);
  for (int i = 0; i < count; i++)
    assert_true(items[i].whole && *items[i].key && items[i].bytes > 0);
  assert_int_equal(count_names(f), 2);
}

static void flip(const char *path, size_t at) {
  FILE *file = fopen(path, "r+b");
  assert_non_null(file);
  assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
  int byte = fgetc(file);
  assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
  fputc(byte ^ 0x10, file);
  fclose(file);
}

static size_t size_of(const char *path) {
  struct stat info;
  assert_int_equal(stat(path, &info), 0);
  return (size_t)info.st_size;
}

/* Whatever happened to one file of an entry, it is not found; it is built again and then found. */
static void notices_damage(void **state) {
  fixture *f = *state;
  static const char *const files[] = {"manifest", "key", "kernel.cubin", "kernel.tl"};
  const char *key = "a key of some length";
  for (int i = 0; i < 4; i++) {
    for (int damage = 0; damage < 6; damage++) {
      add(f, key);
      assert_true(finds(f, key));
      const char *path = entry_path(f, key, files[i]);
      size_t size = size_of(path);
      switch (damage) {
      case 0:
        assert_int_equal(truncate(path, (off_t)size - 1), 0);
        break;
      case 1:
        assert_int_equal(truncate(path, 0), 0);
        break;
      case 2:
        assert_int_equal(unlink(path), 0);
        break;
      case 3:
        assert_int_equal(truncate(path, (off_t)size + 1), 0);
        break;
      case 4:
        flip(path, size - 1);
        break;
      default:
        flip(path, size / 2);
        break;
      }
      assert_false(finds(f, key));
      assert_int_equal(count_names(f), 0);
    }
  }
}

/* An entry in another's place is whole, and not what was asked for. */
static void compares_the_full_key(void **state) {
  fixture *f = *state;
  add(f, "one");
  char *from = arena_strdup(f->memory, entry_path(f, "one", "")),
       *to = arena_strdup(f->memory, entry_path(f, "two", ""));
  assert_int_equal(rename(from, to), 0);
  assert_false(finds(f, "one"));
  assert_false(finds(f, "two"));
  int count;
  store_item *items = store_list(f->s, f->memory, &count);
  assert_int_equal(count, 1);
  assert_false(items[0].whole);
}

/* A file in the place of an entry, a link, a directory in the place of a file. */
static void survives_other_things(void **state) {
  fixture *f = *state;
  add(f, "one");
  char *place = arena_strdup(f->memory, entry_path(f, "two", ""));
  place[strlen(place) - 1] = '\0';
  assert_int_equal(mkfifo(place, 0600), 0);
  assert_false(finds(f, "two"));
  add(f, "two");
  assert_true(finds(f, "two"));
  const char *file = entry_path(f, "one", "kernel.cubin");
  unlink(file);
  assert_int_equal(symlink("/dev/zero", file), 0);
  assert_false(finds(f, "one"));
  add(f, "one");
  assert_true(finds(f, "one"));
}

static void works_without_a_directory(void **state) {
  fixture *f = *state;
  const char *file = arena_printf(f->memory, "%s/file", f->directory);
  close(open(file, O_CREAT | O_WRONLY, 0600));
  const char *const directories[] = {NULL, "", arena_printf(f->memory, "%s/below", file), "/proc/no/such"};
  for (int i = 0; i < 4; i++) {
    store *s = store_open(directories[i], PLENTY);
    store_entry e = content_of("one", f->memory);
    runtime_message message = {""};
    assert_int_equal(store_add(s, "one", &e, &message), RUNTIME_FILE);
    assert_non_null(strstr(message.text, "cannot keep"));
    assert_false(store_find(s, "one", f->memory, &e));
    int count;
    store_list(s, f->memory, &count);
    assert_int_equal(count, 0);
    assert_int_equal(store_collect(s, 0).entries, 0);
    store_close(s);
  }
}

static void reads_what_it_cannot_write(void **state) {
  fixture *f = *state;
  if (geteuid() == 0) skip(); /* root writes everywhere */
  add(f, "one");
  const char *root = arena_printf(f->memory, "%s/1", f->directory);
  assert_int_equal(chmod(root, 0500), 0);
  store_entry e = content_of("two", f->memory);
  assert_int_equal(store_add(f->s, "two", &e, NULL), RUNTIME_FILE);
  assert_true(finds(f, "one"));
  assert_int_equal(chmod(root, 0700), 0);
}

/* No room for files of more than 2,000 bytes: the addition fails whole. */
static void survives_a_full_disk(void **state) {
  fixture *f = *state;
  add(f, "one");
  pid_t child = fork();
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){2000, 2000});
    char big[4000] = "x";
    store_entry e = {.files = {{"kernel.cubin", big, sizeof big}}, .count = 1};
    _exit(store_add(f->s, "big", &e, NULL) == RUNTIME_FILE ? 0 : 1);
  }
  int status;
  waitpid(child, &status, 0);
  assert_int_equal(status, 0);
  assert_false(finds(f, "big"));
  assert_true(finds(f, "one"));
  assert_int_equal(count_names(f), 1);
}

static bool write_text(const char *path, const char *text) {
  int file = open(path, O_WRONLY);
  bool ok = file >= 0 && write(file, text, strlen(text)) == (ssize_t)strlen(text);
  if (file >= 0) close(file);
  return ok;
}

/* A small file system at `path` for this process alone; false where that is not allowed. Needs no root: mounting is
 * allowed in a user namespace of one's own. */
static bool mount_small_disk(arena *memory, const char *path) {
  long user = getuid(), group = getgid();
  if (unshare(CLONE_NEWNS) != 0) {
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
    write_text("/proc/self/setgroups", "deny");
    if (!write_text("/proc/self/uid_map", arena_printf(memory, "0 %ld 1", user)) ||
        !write_text("/proc/self/gid_map", arena_printf(memory, "0 %ld 1", group)))
      return false;
  }
  return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 && mkdir(path, 0700) == 0 &&
         mount("none", path, "tmpfs", 0, "size=128k,nr_inodes=200") == 0;
}

enum { NOT_ALLOWED = 77 };

/* In a process of its own: the number of what went wrong, 0, or NOT_ALLOWED. */
static int use_small_disk(fixture *f) {
  const char *disk = arena_printf(f->memory, "%s/disk", f->directory);
  if (!mount_small_disk(f->memory, disk)) return NOT_ALLOWED;
  fixture on_disk = {.memory = f->memory, .s = store_open(disk, PLENTY)};
  snprintf(on_disk.directory, sizeof on_disk.directory, "%s", disk);
  int kept = 0;
  runtime_message message = {""};
  store_entry e;
  for (bool room = true; room && kept < 1000;) {
    e = content_of(key_named(kept, f->memory), f->memory);
    room = store_add(on_disk.s, key_named(kept, f->memory), &e, &message) == RUNTIME_OK;
    kept += room;
  }
  if (kept < 2 || kept == 1000 || !strstr(message.text, "No space left")) return 1;
  if (count_names(&on_disk) != kept) return 2;
  for (int i = 0; i <= kept; i++)
    if (finds(&on_disk, key_named(i, f->memory)) != (i < kept)) return 3;
  for (int i = 0, file = 0; file >= 0; i++) { /* not even room for a name */
    file = open(arena_printf(f->memory, "%s/filler %d", disk, i), O_CREAT | O_WRONLY, 0600);
    if (file >= 0) close(file);
  }
  if (store_collect(on_disk.s, 0).entries != kept || count_names(&on_disk) != 0) return 4;
  e = content_of("one", f->memory);
  if (store_add(on_disk.s, "one", &e, NULL) != RUNTIME_OK) return 4;
  e = content_of("two", f->memory);
  if (store_add(on_disk.s, "two", &e, NULL) != RUNTIME_OK) return 5;
  flip(entry_path(&on_disk, "two", "kernel.cubin"), 0);
  if (mount(NULL, disk, NULL, MS_REMOUNT | MS_RDONLY, NULL) != 0) return NOT_ALLOWED;
  if (!finds(&on_disk, "one") || finds(&on_disk, "two")) return 6;
  if (store_add(on_disk.s, "two", &e, &message) != RUNTIME_FILE || !strstr(message.text, "Read-only")) return 7;
  if (store_collect(on_disk.s, 0).entries != 0 || !finds(&on_disk, "one")) return 8;
  return 0;
}

static void survives_a_small_and_a_read_only_disk(void **state) {
  fixture *f = *state;
  pid_t child = fork();
  if (child == 0) _exit(use_small_disk(f));
  int status;
  waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_ALLOWED) skip();
  assert_int_equal(status, 0);
}

/* Another version of the store, with a layout of its own, keeps its entries beside ours. */
static void leaves_other_versions_alone(void **state) {
  fixture *f = *state;
  const char *other = arena_printf(f->memory, "%s/2", f->directory);
  const char *file = arena_printf(f->memory, "%s/entry", other);
  assert_int_equal(mkdir(other, 0700), 0);
  close(open(file, O_CREAT | O_WRONLY, 0600));
  add(f, "one");
  assert_int_equal(store_collect(f->s, 0).entries, 1);
  assert_int_equal(access(file, F_OK), 0);
}

static void use(fixture *f, const char *key, long seconds) {
  const struct timespec times[2] = {{seconds, 0}, {seconds, 0}};
  assert_int_equal(utimensat(AT_FDCWD, entry_path(f, key, "manifest"), times, 0), 0);
}

static void removes_what_was_used_longest_ago(void **state) {
  fixture *f = *state;
  static const char *const keys[] = {"a", "b", "c", "d"};
  for (int i = 0; i < 4; i++) {
    add(f, keys[i]);
    use(f, keys[i], 1000 + i);
  }
  assert_true(finds(f, "a")); /* used now */
  int count;
  store_item *items = store_list(f->s, f->memory, &count);
  int64_t all = 0;
  for (int i = 0; i < count; i++)
    all += items[i].bytes;
  store_removed removed = store_collect(f->s, all - 1);
  assert_int_equal(removed.entries, 1);
  assert_false(finds(f, "b"));
  assert_true(finds(f, "a") && finds(f, "c") && finds(f, "d"));
  const char *left = arena_printf(f->memory, "%s/1/new.1.abandoned", f->directory);
  const char *young = arena_printf(f->memory, "%s/1/new.2.young", f->directory);
  mkdir(left, 0700), mkdir(young, 0700);
  const struct timespec old[2] = {{1000, 0}, {1000, 0}};
  utimensat(AT_FDCWD, left, old, 0);
  flip(entry_path(f, "c", "kernel.tl"), 0); /* what is not whole goes first */
  assert_int_equal(store_collect(f->s, PLENTY).entries, 1);
  assert_int_not_equal(access(left, F_OK), 0);
  assert_int_equal(access(young, F_OK), 0);
  assert_false(finds(f, "c"));
  assert_int_equal(store_collect(f->s, 0).left_bytes, 0);
}

static void stays_below_its_size(void **state) {
  fixture *f = *state;
  store *s = store_open(f->directory, 100000);
  for (int i = 0; i < 200; i++) {
    const char *key = key_named(i, f->memory);
    store_entry e = content_of(key, f->memory);
    assert_int_equal(store_add(s, key, &e, NULL), RUNTIME_OK);
  }
  int count;
  store_item *items = store_list(s, f->memory, &count);
  int64_t all = 0;
  for (int i = 0; i < count; i++)
    all += items[i].bytes;
  assert_true(all < 100000 + 32 * 16000); /* it looks at every 32nd addition */
  store_close(s);
}

/* -- Archives ------------------------------------------------------------------------------------------------------ */

static void travels_as_an_archive(void **state) {
  fixture *f = *state;
  add(f, "one");
  add(f, "two");
  const char *first = arena_printf(f->memory, "%s/first.tar", f->directory);
  const char *second = arena_printf(f->memory, "%s/second.tar", f->directory);
  int count;
  assert_int_equal(store_export(f->s, first, &count, NULL), RUNTIME_OK);
  assert_int_equal(count, 2);
  store *other = store_open(arena_printf(f->memory, "%s/other", f->directory), PLENTY);
  assert_int_equal(store_import(other, first, &count, NULL), RUNTIME_OK);
  assert_int_equal(count, 2);
  store_entry e;
  assert_true(store_find(other, "one", f->memory, &e) && is_right(&e, "one", f->memory));
  assert_int_equal(store_export(other, second, &count, NULL), RUNTIME_OK);
  size_t a_size, b_size;
  str error = STR_EMPTY;
  const char *a = output_read(f->memory, first, &a_size, &error), *b = output_read(f->memory, second, &b_size, &error);
  assert_true(a_size == b_size && memcmp(a, b, a_size) == 0);
  runtime_message message = {""};
  assert_int_equal(store_import(other, "/no/such/file.tar", &count, &message), RUNTIME_FILE);
  assert_non_null(strstr(message.text, "/no/such/file.tar"));
  store_close(other);
}

/* An archive cut or altered anywhere brings in whole entries or none. */
static void refuses_damaged_archives(void **state) {
  fixture *f = *state;
  add(f, "one");
  add(f, "two");
  const char *path = arena_printf(f->memory, "%s/a.tar", f->directory);
  int count;
  assert_int_equal(store_export(f->s, path, &count, NULL), RUNTIME_OK);
  size_t size;
  str error = STR_EMPTY;
  char *bytes = output_read(f->memory, path, &size, &error);
  store *other = store_open(arena_printf(f->memory, "%s/other", f->directory), PLENTY);
  for (size_t i = 0; i < 400; i++) {
    size_t at = i * 2654435761u % size, cut = i % 2 ? size : at;
    char was = bytes[at];
    bytes[at] ^= (char)(1 << i % 8);
    assert_true(output_write(path, bytes, cut, &error));
    bytes[at] = was;
    store_import(other, path, &count, NULL);
    arena *memory = arena_create();
    store_item *items = store_list(other, memory, &count);
    for (int k = 0; k < count; k++) {
      store_entry e;
      assert_true(items[k].whole && store_find(other, items[k].key, memory, &e) && is_right(&e, items[k].key, memory));
    }
    arena_destroy(memory);
    store_collect(other, 0);
  }
  store_close(other);
}

/* -- Many at once -------------------------------------------------------------------------------------------------- */

enum { KEYS = 6, PROCESSES = 8, THREADS = 4 };

/* What the threads of one round do. */
typedef struct torture {
  store *s;
  int round;
  bool quiet; /* nothing is damaged or removed: whatever was whole stays so */
} torture;

/* Every other key is another version's. */
static const char *key_of(int i, arena *memory) {
  return arena_printf(memory, "compiler 0.%d\nkernel number %d\n", i % 2, i / 2);
}

/* Asks for a kernel as the library does; false when it was given something wrong, or not what is there. */
static bool ask(const torture *t, const char *key, arena *memory) {
  store_entry e;
  if (store_find(t->s, key, memory, &e)) return is_right(&e, key, memory);
  e = content_of(key, memory);
  if (store_add(t->s, key, &e, NULL) != RUNTIME_OK || !t->quiet) return true;
  return store_find(t->s, key, memory, &e) && is_right(&e, key, memory);
}

/* One step of a worker: first, the one kernel of the round that everybody wants. */
static bool work(const torture *t, unsigned *seed, bool first) {
  arena *memory = arena_create();
  const char *key = key_of(rand_r(seed) % KEYS, memory);
  if (first || rand_r(seed) % 4 == 0) key = arena_printf(memory, "the kernel of round %d", t->round);
  bool ok = ask(t, key, memory);
  if (!t->quiet && rand_r(seed) % 200 == 0) store_collect(t->s, 20000);
  arena_destroy(memory);
  return ok;
}

typedef struct thread_work {
  const torture *t;
  unsigned seed;
  int steps; /* 0: until killed */
  bool ok;
} thread_work;

static void *run_thread(void *context) {
  thread_work *w = context;
  w->ok = true;
  for (int i = 0; w->ok && (!w->steps || i < w->steps); i++)
    w->ok = work(w->t, &w->seed, i == 0);
  if (!w->ok && !w->steps) _exit(1); /* the other threads have no end */
  return NULL;
}

/* A process of several threads. Of every eight one has room for small files only. */
static pid_t start_process(const torture *t, int number, int steps) {
  pid_t child = fork();
  if (child != 0) return child;
  if (number % PROCESSES == 1) {
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){2000, 2000});
  }
  pthread_t threads[THREADS];
  thread_work works[THREADS];
  bool ok = true;
  for (int i = 0; i < THREADS; i++) {
    works[i] = (thread_work){t, (unsigned)((t->round * PROCESSES + number) * THREADS + i), steps, false};
    ok &= pthread_create(&threads[i], NULL, run_thread, &works[i]) == 0;
  }
  for (int i = 0; ok && i < THREADS; i++) {
    pthread_join(threads[i], NULL);
    ok &= works[i].ok;
  }
  _exit(ok ? 0 : 1);
}

static void damage_something(fixture *f, unsigned *seed) {
  static const char *const files[] = {"manifest", "key", "kernel.cubin", "kernel.tl"};
  const char *path = entry_path(f, key_of(rand_r(seed) % KEYS, f->memory), files[rand_r(seed) % 4]);
  int file = open(path, O_RDWR);
  if (file < 0) return;
  off_t size = lseek(file, 0, SEEK_END);
  char byte = 0;
  if (size > 0 && rand_r(seed) % 2) {
    off_t at = rand_r(seed) % size;
    if (pread(file, &byte, 1, at) == 1) {
      byte = (char)(byte ^ (1 << rand_r(seed) % 8));
      assert_int_equal(pwrite(file, &byte, 1, at), 1);
    }
  } else if (size > 0) {
    assert_int_equal(ftruncate(file, rand_r(seed) % size), 0);
  }
  close(file);
}

/* Each round, 8 processes of 4 threads ask for the same few kernels and are killed at some moment. Every other round is
 * quiet: what was whole before it is there after it. In the others files are cut and altered, and entries removed.
 * BITBLASC_STORE_ROUNDS=1000 for the long run. */
static void survives_kills_and_damage(void **state) {
  fixture *f = *state;
  const char *wish = getenv("BITBLASC_STORE_ROUNDS");
  int rounds = wish ? atoi(wish) : 60;
  unsigned seed = 1;
  for (int round = 0; round < rounds; round++) {
    const torture t = {f->s, round, round % 2 == 1};
    pid_t children[PROCESSES];
    for (int p = 0; p < PROCESSES; p++)
      children[p] = start_process(&t, p, 0);
    usleep((useconds_t)(rand_r(&seed) % 12000));
    for (int i = t.quiet ? 0 : rand_r(&seed) % 3; i > 0; i--)
      damage_something(f, &seed);
    for (int p = 0; p < PROCESSES; p++) {
      int status;
      kill(children[p], SIGKILL);
      waitpid(children[p], &status, 0);
      if (WIFEXITED(status)) fail_msg("round %d: a process was given a wrong entry, or lost one", round);
    }
    for (int i = 0; i < KEYS; i++) {
      const char *key = key_of(i, f->memory);
      bool found = finds(f, key); /* right, or not there */
      if (t.quiet && !found) fail_msg("round %d: kernel %d was lost", round, i);
      add(f, key);
      assert_true(finds(f, key));
    }
    arena_reset(f->memory);
  }
}

static void serves_many_processes_and_threads(void **state) {
  fixture *f = *state;
  const torture t = {f->s, 0, true};
  pid_t children[PROCESSES];
  for (int p = 0; p < PROCESSES; p++)
    children[p] = start_process(&t, p, 50);
  for (int p = 0; p < PROCESSES; p++) {
    int status;
    waitpid(children[p], &status, 0);
    assert_int_equal(status, 0);
  }
  assert_true(finds(f, "the kernel of round 0"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(keeps_and_finds),
      TEST(notices_damage),
      TEST(compares_the_full_key),
      TEST(survives_other_things),
      TEST(works_without_a_directory),
      TEST(reads_what_it_cannot_write),
      TEST(survives_a_full_disk),
      TEST(survives_a_small_and_a_read_only_disk),
      TEST(leaves_other_versions_alone),
      TEST(removes_what_was_used_longest_ago),
      TEST(stays_below_its_size),
      TEST(travels_as_an_archive),
      TEST(refuses_damaged_archives),
      TEST(survives_kills_and_damage),
      TEST(serves_many_processes_and_threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
