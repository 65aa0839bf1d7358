/* Inside the store: one entry's directory. */
#ifndef BITBLASC_RUNTIME_STORE_ENTRY_H
#define BITBLASC_RUNTIME_STORE_ENTRY_H

#include "runtime/store.h"
#include "support/str.h"

#define STORE_MANIFEST  "manifest"
#define STORE_KEY       "key"
#define STORE_TEMPORARY "new." /* how the names of unfinished and of removed entries begin */

enum { STORE_FILE_BYTES_MAX = 1 << 30 };

bool store_file_name_ok(const char *name);

/* The manifest of these files, the key among them. */
void store_write_manifest(const store_entry *entry, str *out);
/* Takes a manifest apart, in place: names and sizes (data NULL), hashes beside them. False when it is not one, or was altered. */
bool store_read_manifest(char *text, size_t length, store_entry *entry, hash128 hashes[STORE_FILES_MAX]);

/* What reading the directory of an entry gave. */
typedef enum store_state { STORE_ABSENT, STORE_BROKEN, STORE_WHOLE } store_state;

/* Reads and checks the entry in the directory that `directory` is open on: the manifest's files, key included. */
store_state store_read_entry(int directory, arena *memory, store_entry *out);
/* Writes the files and their manifest into an empty directory. */
bool store_write_entry(int directory, const store_entry *entry);

/* Writes a new entry beside the others and renames it to its place. `entry` has its key among its files. */
runtime_status store_put(const store *s, const store_entry *entry, runtime_message *message);
const char *store_root(const store *s); /* DIR/1; NULL: there is no directory */

#endif
