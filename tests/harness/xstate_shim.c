/* Preloaded into linux.uml: makes it run where it would not, and saves its guests much of their time.
 *
 * User Mode Linux 6.1 keeps its guests' floating-point state in a buffer of fixed size and hands that to
 * PTRACE_SETREGSET/NT_X86_XSTATE. Kernels from 5.16 on take only the whole state; where that is larger (AMX: about
 * 11 KiB) they answer EFAULT and UML panics ("ptrace set fp regs failed, errno = 14"). Here the short state is laid
 * over what the tracee has now, and the whole is set.
 *
 * UML sets that state before it lets a process go on, and reads it whenever one stops: at each system call and page
 * fault. Setting it is the dearest of all these requests (the kernel maps memory for it, each time), and nearly always
 * the process has that very state. Here it is set when the process goes on, if it has not got it already.
 *
 * UML calls ptrace from one thread of one process, so one of each buffer is enough. */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
  kXstateNote = 0x202,  /* NT_X86_XSTATE */
  kOldSetOptions = 21,  /* PTRACE_OLDSETOPTIONS */
  kLegacySize = 512,    /* FXSAVE area; the XSAVE header follows, xstate_bv first */
  kHeaderEnd = 512 + 64,
  kKept = 0x2ff,        /* x87, SSE, AVX, MPX, AVX-512, PKRU: what a short buffer can hold */
  kTracees = 256,       /* of whom the state is known; as many as fit, by the process number */
  kMostKnown = 16384,
};

struct tracee {
  pid_t pid;
  enum { kUnknown, kSame, kToBeSet } state; /* of the process's own state, against ours */
  size_t size;
  unsigned char bytes[kMostKnown];
};
static struct tracee tracees[kTracees];
static unsigned char whole[65536] __attribute__((aligned(64)));

static long pass_on(int request, pid_t pid, uintptr_t address, void* data) {
  return syscall(SYS_ptrace, request, pid, address, data);
}

static long set_xstate(pid_t pid, const struct iovec* part) {
  static size_t whole_size; /* the same for all processes of a machine; 0: not asked yet */
  struct iovec all = {whole, sizeof whole};
  if (part->iov_len < kHeaderEnd || (whole_size != 0 && part->iov_len >= whole_size) ||
      pass_on(PTRACE_GETREGSET, pid, kXstateNote, &all) != 0)
    return pass_on(PTRACE_SETREGSET, pid, kXstateNote, (void*)part);
  whole_size = all.iov_len;
  if (part->iov_len >= whole_size) return pass_on(PTRACE_SETREGSET, pid, kXstateNote, (void*)part);
  memcpy(whole, part->iov_base, part->iov_len);
  uint64_t present;
  memcpy(&present, whole + kLegacySize, sizeof present);
  present &= kKept;
  memcpy(whole + kLegacySize, &present, sizeof present);
  return pass_on(PTRACE_SETREGSET, pid, kXstateNote, &all);
}

static long bring_up_to_date(struct tracee* tracee) {
  if (tracee->state != kToBeSet) return 0;
  const struct iovec part = {tracee->bytes, tracee->size};
  const long result = set_xstate(tracee->pid, &part);
  tracee->state = result == 0 ? kSame : kUnknown;
  return result;
}

static struct tracee* tracee_of(pid_t pid) {
  struct tracee* const tracee = &tracees[(unsigned)pid % kTracees];
  if (tracee->pid != pid) {
    /* It may have ended. Else all end: without their tracer UML's processes would run on, on the host. */
    if (bring_up_to_date(tracee) != 0 && errno != ESRCH) kill(0, SIGKILL);
    tracee->pid = pid;
    tracee->state = kUnknown;
  }
  return tracee;
}

static void remember(struct tracee* tracee, const struct iovec* part, int state) {
  memcpy(tracee->bytes, part->iov_base, part->iov_len);
  tracee->size = part->iov_len;
  tracee->state = state;
}

static long later_set(struct tracee* tracee, const struct iovec* part) {
  if (part->iov_len > kMostKnown) {
    tracee->state = kUnknown;
    return set_xstate(tracee->pid, part);
  }
  /* UML's buffer may be longer than the state is. */
  const int same = tracee->state == kSame && tracee->size <= part->iov_len &&
                   memcmp(tracee->bytes, part->iov_base, tracee->size) == 0;
  if (!same) remember(tracee, part, kToBeSet);
  return 0;
}

static long get(struct tracee* tracee, struct iovec* part) {
  if (tracee->state == kSame && tracee->size <= part->iov_len) {
    memcpy(part->iov_base, tracee->bytes, tracee->size);
    part->iov_len = tracee->size;
    return 0;
  }
  if (bring_up_to_date(tracee) != 0) return -1;
  const long result = pass_on(PTRACE_GETREGSET, tracee->pid, kXstateNote, part);
  tracee->state = kUnknown;
  if (result == 0 && part->iov_len <= kMostKnown) remember(tracee, part, kSame);
  return result;
}

long ptrace(enum __ptrace_request request, ...) {
  va_list list;
  va_start(list, request);
  const pid_t pid = va_arg(list, pid_t);
  void* const address = va_arg(list, void*);
  void* const data = va_arg(list, void*);
  va_end(list);

  switch ((int)request) {
    case PTRACE_SETREGSET:
      if ((uintptr_t)address == kXstateNote) return later_set(tracee_of(pid), data);
      break;
    case PTRACE_GETREGSET:
      if ((uintptr_t)address == kXstateNote) return get(tracee_of(pid), data);
      break;
    case PTRACE_CONT:
      if (data == NULL) break; /* UML's own few lines in that process: they leave this state alone */
      /* fall through */
    case PTRACE_SYSCALL:
    case PTRACE_SINGLESTEP:
    case PTRACE_SYSEMU:
    case PTRACE_SYSEMU_SINGLESTEP: {
      struct tracee* const tracee = tracee_of(pid);
      if (bring_up_to_date(tracee) != 0) return -1;
      tracee->state = kUnknown;
      break;
    }
    case PTRACE_GETFPREGS: /* parts of the same state */
    case PTRACE_SETFPREGS: {
      struct tracee* const tracee = tracee_of(pid);
      if (bring_up_to_date(tracee) != 0) return -1;
      tracee->state = kUnknown;
      break;
    }
    case PTRACE_SETOPTIONS: /* a new process, maybe with the number of one that ended */
    case kOldSetOptions: {
      struct tracee* const tracee = &tracees[(unsigned)pid % kTracees];
      if (tracee->pid == pid) tracee->state = kUnknown;
      break;
    }
    case PTRACE_PEEKTEXT:
    case PTRACE_PEEKDATA:
    case PTRACE_PEEKUSER: {
      long word; /* the system call stores the word, the C function returns it */
      const long result = pass_on(request, pid, (uintptr_t)address, &word);
      if (result < 0) return result;
      errno = 0;
      return word;
    }
    default: break;
  }
  return pass_on(request, pid, (uintptr_t)address, data);
}
