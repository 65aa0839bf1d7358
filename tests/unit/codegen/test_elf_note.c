/* The note in a cubin: what goes in comes out, nothing else moves, and no bytes crash the reader. */
#include "codegen/elf_note.h"
#include "codegen/nvrtc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <elf.h>
#include <string.h>

/* A small ELF file in the order of a cubin: header, names, a section's bytes, section table, program header. */
static unsigned char *small_elf(arena *a, size_t *size) {
  static const char names[] = "\0.shstrtab\0.text.k";
  enum {
    NAMES_AT = 64,
    TEXT_AT = 96,
    TABLE_AT = 104,
    COUNT = 3,
    PROGRAM_AT = TABLE_AT + COUNT * 64,
    SIZE = PROGRAM_AT + 56
  };
  unsigned char *image = arena_alloc(a, SIZE);
  Elf64_Ehdr h = {.e_type = ET_EXEC,
                  .e_machine = 190,
                  .e_flags = 0x5a0055a,
                  .e_phoff = PROGRAM_AT,
                  .e_phentsize = 56,
                  .e_phnum = 1,
                  .e_shoff = TABLE_AT,
                  .e_ehsize = 64,
                  .e_shentsize = 64,
                  .e_shnum = COUNT,
                  .e_shstrndx = 1};
  memcpy(h.e_ident, ELFMAG, SELFMAG);
  h.e_ident[EI_CLASS] = ELFCLASS64;
  h.e_ident[EI_DATA] = ELFDATA2LSB;
  Elf64_Shdr sections[COUNT] = {{.sh_name = 0},
                                {.sh_name = 1, .sh_type = SHT_STRTAB, .sh_offset = NAMES_AT, .sh_size = sizeof names},
                                {.sh_name = 11, .sh_type = SHT_PROGBITS, .sh_offset = TEXT_AT, .sh_size = 8}};
  memcpy(image, &h, sizeof h);
  memcpy(image + NAMES_AT, names, sizeof names);
  memset(image + TEXT_AT, 0xab, 8);
  memcpy(image + TABLE_AT, sections, sizeof sections);
  *size = SIZE;
  return image;
}

static void check_note(arena *a, const unsigned char *image, size_t size) {
  static const char *const texts[] = {"", "x", "{\"a\":1}", "twelve bytes"};
  const char *error = NULL;
  size_t length = 0;
  assert_null(elf_note_find(image, size, &length, &error));
  assert_non_null(strstr(error, "no launch record"));
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    size_t noted_size = 0, again_size = 0;
    unsigned char *noted = elf_note_add(a, image, size, texts[i], strlen(texts[i]), &noted_size, &error);
    assert_non_null(noted);
    const char *found = elf_note_find(noted, noted_size, &length, &error);
    assert_non_null(found);
    assert_null(error);
    assert_int_equal(length, strlen(texts[i]));
    assert_memory_equal(found, texts[i], length);
    /* Of the old bytes only e_shoff and e_shnum differ. */
    Elf64_Ehdr old, new;
    memcpy(&old, image, sizeof old);
    memcpy(&new, noted, sizeof new);
    assert_int_equal(new.e_shnum, old.e_shnum + 1);
    new.e_shoff = old.e_shoff;
    new.e_shnum = old.e_shnum;
    assert_memory_equal(&new, &old, sizeof old);
    assert_memory_equal(noted + sizeof old, image + sizeof old, size - sizeof old);
    /* A second note replaces the first. */
    unsigned char *again = elf_note_add(a, noted, noted_size, "another", 7, &again_size, &error);
    assert_non_null(again);
    memcpy(&new, again, sizeof new);
    assert_int_equal(new.e_shnum, old.e_shnum + 1);
    found = elf_note_find(again, again_size, &length, &error);
    assert_int_equal(length, 7);
    assert_memory_equal(found, "another", 7);
  }
}

static void adds_and_finds(void **state) {
  (void)state;
  arena *a = arena_create();
  size_t size = 0;
  unsigned char *image = small_elf(a, &size);
  check_note(a, image, size);
  arena_destroy(a);
}

static void adds_to_a_real_cubin(void **state) {
  (void)state;
  arena *a = arena_create();
  const char *error = NULL;
  nvrtc *n = nvrtc_open(&(nvrtc_search){.path = NULL}, a, NULL, &error);
  if (!n) {
    arena_destroy(a);
    skip();
  }
  nvrtc_result r = nvrtc_compile(n, "extern \"C\" __global__ void k(int *p) { *p = 1; }", "k.cu",
                                 &(nvrtc_options){.arch = "sm_90a"}, a);
  assert_int_equal(r.status, NVRTC_OK);
  check_note(a, r.cubin, r.cubin_size);
  nvrtc_close(n);
  arena_destroy(a);
}

static void refuses_what_is_no_elf(void **state) {
  (void)state;
  arena *a = arena_create();
  const char *error = NULL;
  size_t length = 0;
  assert_null(elf_note_find("", 0, &length, &error));
  assert_non_null(error);
  assert_null(elf_note_find("\177ELF", 4, &length, &error));
  assert_null(elf_note_add(a, "#!/bin/sh", 9, "x", 1, &length, &error));
  assert_non_null(error);
  size_t size = 0;
  unsigned char *image = small_elf(a, &size);
  image[EI_CLASS] = ELFCLASS32;
  assert_null(elf_note_add(a, image, size, "x", 1, &length, &error));
  assert_non_null(strstr(error, "64-bit"));
  arena_destroy(a);
}

/* Every truncation, and many byte changes; the image is copied to memory of its exact size, so that a sanitizer sees
 * any overrun. */
static void survives_any_bytes(void **state) {
  (void)state;
  arena *a = arena_create();
  const char *error = NULL;
  size_t size = 0, noted_size = 0, length = 0;
  unsigned char *image = small_elf(a, &size);
  unsigned char *noted = elf_note_add(a, image, size, "{\"a\":1}", 7, &noted_size, &error);
  for (size_t cut = 0; cut < noted_size; cut++) {
    unsigned char *exact = test_malloc(cut + !cut);
    memcpy(exact, noted, cut);
    assert_null(elf_note_find(exact, cut, &length, &error));
    test_free(exact);
  }
  uint32_t seed = 99;
  arena *scratch = arena_create();
  for (int round = 0; round < 20000; round++) {
    unsigned char *exact = test_malloc(noted_size);
    memcpy(exact, noted, noted_size);
    for (int i = 0; i < 3; i++) {
      seed = seed * 1664525u + 1013904223u;
      size_t at = (seed >> 8) % noted_size;
      if (i == 0) at %= 64; /* the header, where it hurts most */
      exact[at] = (unsigned char)(seed >> 24);
    }
    const unsigned char *found = elf_note_find(exact, noted_size, &length, &error);
    if (found) assert_true(found >= exact && found + length <= exact + noted_size);
    size_t out_size = 0;
    arena_reset(scratch);
    const void *again = elf_note_add(scratch, exact, noted_size, "y", 1, &out_size, &error);
    assert_true(again != NULL || error != NULL);
    test_free(exact);
  }
  arena_destroy(scratch);
  arena_destroy(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(adds_and_finds),
      cmocka_unit_test(adds_to_a_real_cubin),
      cmocka_unit_test(refuses_what_is_no_elf),
      cmocka_unit_test(survives_any_bytes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
