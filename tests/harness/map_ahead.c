/* An auditor of the dynamic loader (LD_AUDIT, rtld-audit(7)): maps each program and library whole, at once.
 *
 * In a guest of User Mode Linux a page fault costs 150 us or more (the host switches between processes six times), and a
 * program takes hundreds to start. Populating a range costs next to nothing for each page, but UML tells the host of
 * such pages only when it has to look through the range: when its protection changes. So it changes, and changes back.
 * lvm2's commands take half the time, then.
 *
 * The loader gives an auditor a C library of its own; this one needs none. It sees each object before relocation. */
#include <elf.h>
#include <link.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>

enum {
  kPage = 4096,
  kFixedBase = 0x400000, /* of programs that are not position-independent */
  kPopulateRead = 22,    /* MADV_POPULATE_READ, _WRITE: Linux 5.14 */
  kPopulateWrite = 23,
};

static long system_call(long number, uintptr_t first, uintptr_t second, uintptr_t third) {
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(first), "S"(second), "d"(third)
                   : "rcx", "r11", "memory");
  return result;
}

static void map(uintptr_t from, uintptr_t to, int protection) {
  from &= ~(uintptr_t)(kPage - 1);
  to = (to + kPage - 1) & ~(uintptr_t)(kPage - 1);
  const int advice = protection & PROT_WRITE ? kPopulateWrite : kPopulateRead;
  if (system_call(SYS_madvise, from, to - from, (uintptr_t)advice) != 0) return;
  system_call(SYS_mprotect, from, to - from, protection == PROT_READ ? PROT_NONE : PROT_READ);
  system_call(SYS_mprotect, from, to - from, (uintptr_t)protection);
}

static int protection_of(const ElfW(Phdr) * segment) {
  return PROT_READ | (segment->p_flags & PF_W ? PROT_WRITE : 0) | (segment->p_flags & PF_X ? PROT_EXEC : 0);
}

static void map_object(uintptr_t base, uintptr_t bias) {
  const ElfW(Ehdr)* const header = (const void*)base;
  const ElfW(Phdr)* const segments = (const void*)(base + header->e_phoff);
  for (int i = 0; i < header->e_phnum; ++i)
    if (segments[i].p_type == PT_LOAD)
      map(bias + segments[i].p_vaddr, bias + segments[i].p_vaddr + segments[i].p_memsz, protection_of(&segments[i]));
}

static int is_loader(const char* path) {
  const char* name = path;
  for (; *path != '\0'; ++path)
    if (*path == '/') name = path + 1;
  return name[0] == 'l' && name[1] == 'd' && name[2] == '-';
}

unsigned int la_version(unsigned int version) { return version; }

unsigned int la_objopen(struct link_map* object, Lmid_t list, uintptr_t* cookie) {
  (void)list;
  (void)cookie;
  const char* const name = object->l_name; /* a path; the program: empty; the kernel's own object: no path */
  if ((name[0] != '/' && name[0] != '\0') || is_loader(name)) return 0; /* the loader runs in those pages now */
  unsigned char resident;
  if (object->l_addr != 0)
    map_object(object->l_addr, object->l_addr);
  else if (system_call(SYS_mincore, kFixedBase, kPage, (uintptr_t)&resident) == 0)
    map_object(kFixedBase, 0);
  return 0;
}
