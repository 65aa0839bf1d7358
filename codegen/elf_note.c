#include "codegen/elf_note.h"

#include <elf.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>

static const char section_name[] = ".note.bitblasc";
static const char owner[] = "bitblasc"; /* 9 bytes with its NUL, 12 with the padding */
enum { OWNER_BYTES = sizeof owner, OWNER_PADDED = 12, SECTION_ALIGN = 16 };

/* An image whose section table and name table lie inside it. The headers are read by memcpy: an image has no alignment.
 */
typedef struct image {
  const unsigned char *bytes;
  size_t size;
  Elf64_Ehdr header;
  Elf64_Shdr names; /* of the section name table */
} image;

bool elf_is_elf(const void *bytes, size_t size) { return size >= SELFMAG && memcmp(bytes, ELFMAG, SELFMAG) == 0; }

static bool inside(uint64_t offset, uint64_t length, size_t size) { return offset <= size && length <= size - offset; }

static Elf64_Shdr section(const image *m, size_t index) {
  Elf64_Shdr s;
  memcpy(&s, m->bytes + m->header.e_shoff + index * sizeof s, sizeof s);
  return s;
}

static const char *open_image(const void *bytes, size_t size, image *m) {
  *m = (image){.bytes = bytes, .size = size};
  if (!elf_is_elf(bytes, size) || size < sizeof m->header) return "not an ELF file";
  memcpy(&m->header, bytes, sizeof m->header);
  const Elf64_Ehdr *h = &m->header;
  if (h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_ident[EI_DATA] != ELFDATA2LSB)
    return "not a 64-bit little-endian ELF file";
  if (h->e_shentsize != sizeof(Elf64_Shdr) || h->e_shnum == 0) return "an ELF file without a section table";
  if (!inside(h->e_shoff, (uint64_t)h->e_shnum * sizeof(Elf64_Shdr), size)) return "the section table is cut off";
  if (h->e_shstrndx >= h->e_shnum) return "the section name table is missing";
  m->names = section(m, h->e_shstrndx);
  if (m->names.sh_type != SHT_STRTAB || !inside(m->names.sh_offset, m->names.sh_size, size))
    return "the section name table is broken";
  return NULL;
}

static bool is_named(const image *m, const Elf64_Shdr *s) {
  if (!inside(s->sh_name, sizeof section_name, m->names.sh_size)) return false;
  return memcmp(m->bytes + m->names.sh_offset + s->sh_name, section_name, sizeof section_name) == 0;
}

/* The index of our section, or 0 (which is never a real section). */
static size_t find_section(const image *m) {
  for (size_t i = 1; i < m->header.e_shnum; i++) {
    Elf64_Shdr s = section(m, i);
    if (s.sh_type == SHT_NOTE && is_named(m, &s)) return i;
  }
  return 0;
}

/* A name outside the table would become one inside when the table grows. */
static bool has_stray_name(const image *m) {
  for (size_t i = 0; i < m->header.e_shnum; i++) {
    Elf64_Shdr s = section(m, i);
    if (s.sh_name && s.sh_name >= m->names.sh_size) return true;
  }
  return false;
}

static uint64_t align_up(uint64_t offset, uint64_t alignment) {
  return (offset + alignment - 1) / alignment * alignment;
}

const void *elf_note_find(const void *bytes, size_t size, size_t *desc_size, const char **error) {
  image m;
  *error = open_image(bytes, size, &m);
  if (*error) return NULL;
  size_t index = find_section(&m);
  if (index == 0) {
    *error = "the file has no launch record (section .note.bitblasc)";
    return NULL;
  }
  Elf64_Shdr s = section(&m, index);
  *error = "the launch record's note is broken";
  if (!inside(s.sh_offset, s.sh_size, size)) return NULL;
  uint64_t at = s.sh_offset, end = s.sh_offset + s.sh_size;
  while (end - at >= sizeof(Elf64_Nhdr)) {
    Elf64_Nhdr n;
    memcpy(&n, m.bytes + at, sizeof n);
    uint64_t name_bytes = align_up(n.n_namesz, 4), desc_bytes = align_up(n.n_descsz, 4);
    at += sizeof n;
    if (name_bytes > end - at || desc_bytes > end - at - name_bytes) return NULL;
    bool ours =
        n.n_type == ELF_NOTE_RECORD && n.n_namesz == OWNER_BYTES && memcmp(m.bytes + at, owner, OWNER_BYTES) == 0;
    if (ours && n.n_descsz <= ELF_NOTE_BYTES_MAX) {
      *desc_size = n.n_descsz;
      *error = NULL;
      return m.bytes + at + name_bytes;
    }
    at += name_bytes + desc_bytes;
  }
  return NULL;
}

/* Writes the note at `to`, padded with the zeros that are there. */
static void write_note(unsigned char *to, const void *desc, size_t desc_size) {
  Elf64_Nhdr n = {.n_namesz = OWNER_BYTES, .n_descsz = (Elf64_Word)desc_size, .n_type = ELF_NOTE_RECORD};
  memcpy(to, &n, sizeof n);
  memcpy(to + sizeof n, owner, OWNER_BYTES);
  if (desc_size) memcpy(to + sizeof n + OWNER_PADDED, desc, desc_size);
}

/* Our section header exists already: its note goes to the end of the file and the header points there. Where the old
 * note is the last thing before the tables that elf_note_add wrote, the file would grow at every turn; a build replaces
 * a note once at most. */
void *elf_note_add(arena *a, const void *bytes, size_t size, const void *desc, size_t desc_size, size_t *out_size,
                   const char **error) {
  image m;
  *error = open_image(bytes, size, &m);
  if (!*error && desc_size > ELF_NOTE_BYTES_MAX) *error = "the launch record is larger than 16 MiB";
  if (!*error && has_stray_name(&m)) *error = "a section's name lies outside the name table";
  size_t old_index = *error ? 0 : find_section(&m);
  size_t count = m.header.e_shnum, new_count = count + (old_index == 0);
  /* From SHN_LORESERVE on the count means something else. */
  if (!*error && new_count >= SHN_LORESERVE) *error = "the section table is full";
  if (!*error && (size > INT32_MAX || m.names.sh_size > UINT32_MAX - sizeof section_name))
    *error = "the file is too large";
  if (*error) return NULL;

  size_t note_bytes = sizeof(Elf64_Nhdr) + OWNER_PADDED + align_up(desc_size, 4);
  size_t note_at = align_up(size, SECTION_ALIGN);
  size_t names_at = align_up(note_at + note_bytes, SECTION_ALIGN);
  size_t names_bytes = m.names.sh_size + (old_index ? 0 : sizeof section_name);
  size_t table_at = old_index ? names_at : align_up(names_at + names_bytes, SECTION_ALIGN);
  size_t total = table_at + new_count * sizeof(Elf64_Shdr);

  unsigned char *out = arena_alloc(a, total);
  memcpy(out, bytes, size);
  write_note(out + note_at, desc, desc_size);
  memcpy(out + table_at, m.bytes + m.header.e_shoff, count * sizeof(Elf64_Shdr));

  Elf64_Shdr note = {.sh_type = SHT_NOTE, .sh_addralign = 4};
  if (old_index) {
    note = section(&m, old_index);
  } else {
    note.sh_name = (Elf64_Word)m.names.sh_size;
    memcpy(out + names_at, m.bytes + m.names.sh_offset, m.names.sh_size);
    memcpy(out + names_at + m.names.sh_size, section_name, sizeof section_name);
    Elf64_Shdr names = m.names;
    names.sh_offset = names_at;
    names.sh_size = names_bytes;
    memcpy(out + table_at + m.header.e_shstrndx * sizeof names, &names, sizeof names);
  }
  note.sh_offset = note_at;
  note.sh_size = note_bytes;
  memcpy(out + table_at + (old_index ? old_index : count) * sizeof note, &note, sizeof note);

  Elf64_Ehdr header = m.header;
  header.e_shoff = table_at;
  header.e_shnum = (Elf64_Half)new_count;
  memcpy(out, &header, sizeof header);
  *out_size = total;
  return out;
}
