/* The note in which a cubin carries its launch record: ELF section .note.bitblasc, name "bitblasc", type 1, the
 * record's JSON.
 *
 * Format: System V gABI, chapters "Sections" and "Note Section". The section header table and the section name table
 * are written anew at the end of the file with one entry more; no other byte moves, so program headers, offsets and
 * flags that the driver reads stay. */
#ifndef BITBLASC_CODEGEN_ELF_NOTE_H
#define BITBLASC_CODEGEN_ELF_NOTE_H

#include "support/arena.h"

#include <stdbool.h>
#include <stddef.h>

enum { ELF_NOTE_RECORD = 1, ELF_NOTE_BYTES_MAX = 16 << 20 };

/* Whether the bytes begin with the ELF magic. */
bool elf_is_elf(const void *image, size_t size);

/* A copy of `image` with the note added, or with the note it has replaced; in the arena, *out_size bytes. NULL, with
 * *error a static text, when the image is no ELF64 little-endian file with a sound section table. */
void *elf_note_add(arena *a, const void *image, size_t size, const void *desc, size_t desc_size, size_t *out_size,
                   const char **error);

/* The note's bytes inside `image` (not NUL-terminated), or NULL with *error a static text: every offset is checked, any
 * bytes may come. */
const void *elf_note_find(const void *image, size_t size, size_t *desc_size, const char **error);

#endif
