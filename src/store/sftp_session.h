// One connection to an SFTP server: a program that speaks the protocol on its standard input and output (ssh,
// mostly), and the requests that are on their way through it.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "store/sftp_pace.h"
#include "store/sftp_packet.h"

namespace respaldo::store::sftp {

// The connection is gone or could not be made, in a way that another attempt may not meet. Kind io, without
// an error number: so it stays known when it is copied as an Error.
class ConnectionLost : public Error {
 public:
  explicit ConnectionLost(std::string message, std::string hint = {})
      : Error(ErrorKind::io, std::move(message), std::move(hint)) {}
};

struct SessionOptions {
  std::vector<std::string> command;
  std::string place;     // whom it reaches, for messages
  bool may_ask = false;  // the program gets the terminal until the connection stands
  // Requests go behind our hello, before the server's has come. Not with may_ask.
  bool ahead = false;
  // The program ends soon after its input does, and needs nobody to wait for that.
  bool ends_by_itself = false;
  // Set with the server's hello, and outlives the session. Was it before, then what the program complains of may
  // pass, all but another host key and a refused user.
  std::atomic<bool>* reached = nullptr;
  std::chrono::milliseconds stall{
      120'000};          // without a byte, while an answer is awaited: the connection is given up
  std::stop_token stop;  // while connecting: Cancelled; later `stall` becomes short (see cancel())
};

// What the server can do.
struct Abilities {
  bool flush = false;         // fsync@openssh.com
  bool posix_rename = false;  // posix-rename@openssh.com
  bool free_space = false;    // statvfs@openssh.com
  bool in_order = false;      // one request after the other: OpenSSH's own, which tells its limits (limits@openssh.com)
};
// What it takes at most.
struct Bounds {
  std::uint32_t read = 32U << 10, write = 32U << 10;  // bytes in one request
  std::uint64_t handles = 0;                          // open at once; 0: not told
};

// Something that is being opened, and what was asked of it with the same words, before its handle is known.
struct Opening {
  std::future<Answer> answer;
  std::vector<std::future<Answer>> next;  // counts when it is opened under `expected`
  std::string expected;                   // a handle; empty: `next` was not asked
};

// Thread-safe.
class Session {
 public:
  // Connects. ConnectionLost (also when the machine has no room for a process or a thread), or another Error
  // when trying again cannot help: refused (a host key that is not known, no key that is accepted),
  // unsupported (no SFTP there, no ssh here). Cancelled. With `ahead` the connection's own come to whoever asks
  // or waits.
  explicit Session(SessionOptions options);
  ~Session();  // ends the program, in a second at most; without the server's hello at once
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Waits for the server's hello. Throws what the constructor would.
  const Abilities& abilities() const;
  // Known a round trip after the connection stands: waits for that. Never throws.
  const Bounds& bounds() const;
  bool alive() const;
  // What the destructor begins with: so many end beside each other. Nobody may use the session any more.
  void bid_farewell();
  // Ends the program and all that is under way: whoever waits, or asks from now on, gets Cancelled. Returns
  // at once.
  void cancel();
  // Sends; the answer comes, or ConnectionLost, or Cancelled. Blocks when the server does not read what it is
  // sent.
  std::future<Answer> send(Request request);
  Answer ask(Request request) { return send(std::move(request)).get(); }
  // Opens a file or folder, and asks `next` of it in the same round trip, while the handle that OpenSSH's server will give
  // it is known: it counts them from 0, until one is closed (sftp-server.c, handle_new). One that cannot be opened makes
  // all that are expected later wrong: what may well be missing is looked for with STAT first.
  Opening open(Request request, const std::function<std::vector<Request>(const std::string& handle)>& next);
  // Whether something was asked of that handle before it was known, by any opening. READDIR goes on where the last one
  // ended: so a folder that has another handle than was expected, and this is true of it, is to be opened anew.
  bool was_expected(const std::string& handle) const;
  // Knows of all answers; of writes it is told by whoever sends them, and asks it.
  Pace& pace();

 private:
  struct Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace respaldo::store::sftp
