/* Preloaded into linux.uml, so that it runs on CPUs whose extended state is larger than it expects.
 *
 * User Mode Linux 6.1 keeps its guests' floating-point state in a buffer of fixed size and hands that to
 * PTRACE_SETREGSET/NT_X86_XSTATE. Kernels from 5.16 on take only the whole state; where that is larger (AMX: about
 * 11 KiB) they answer EFAULT and UML panics ("ptrace set fp regs failed, errno = 14"). Here the short state is laid
 * over what the tracee has now, and the whole is set. Elsewhere nothing changes.
 *
 * UML calls ptrace from one thread of one process, so one buffer is enough. */
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
  kXstateNote = 0x202,  /* NT_X86_XSTATE */
  kLegacySize = 512,    /* FXSAVE area; the XSAVE header follows, xstate_bv first */
  kHeaderEnd = 512 + 64,
  kKept = 0x2ff,        /* x87, SSE, AVX, MPX, AVX-512, PKRU: what a short buffer can hold */
};

static unsigned char whole[65536] __attribute__((aligned(64)));

static long set_xstate(pid_t pid, const struct iovec* part) {
  struct iovec all = {whole, sizeof whole};
  if (syscall(SYS_ptrace, PTRACE_GETREGSET, pid, kXstateNote, &all) != 0 || part->iov_len < kHeaderEnd ||
      part->iov_len >= all.iov_len)
    return syscall(SYS_ptrace, PTRACE_SETREGSET, pid, kXstateNote, part);
  memcpy(whole, part->iov_base, part->iov_len);
  uint64_t present;
  memcpy(&present, whole + kLegacySize, sizeof present);
  present &= kKept;
  memcpy(whole + kLegacySize, &present, sizeof present);
  return syscall(SYS_ptrace, PTRACE_SETREGSET, pid, kXstateNote, &all);
}

long ptrace(enum __ptrace_request request, ...) {
  va_list list;
  va_start(list, request);
  const pid_t pid = va_arg(list, pid_t);
  void* const address = va_arg(list, void*);
  void* const data = va_arg(list, void*);
  va_end(list);

  if (request == PTRACE_SETREGSET && (uintptr_t)address == kXstateNote) return set_xstate(pid, data);
  if (request == PTRACE_PEEKTEXT || request == PTRACE_PEEKDATA || request == PTRACE_PEEKUSER) {
    long word; /* the system call stores the word, the C function returns it */
    const long result = syscall(SYS_ptrace, request, pid, address, &word);
    if (result < 0) return result;
    errno = 0;
    return word;
  }
  return syscall(SYS_ptrace, request, pid, address, data);
}
