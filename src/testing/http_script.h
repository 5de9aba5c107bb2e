// A small HTTP server that answers as a test tells it, also what no good server would.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/bytes.h"

namespace respaldo::testing {

// On a port of its own of 127.0.0.1, one thread for each connection.
class HttpScript {
 public:
  struct Request {
    std::string method, target, head, body;  // head: all lines, in lower case
    int connection = 0;                      // the how-manieth
  };
  struct Reply {
    std::string bytes;  // on the wire as it is
    enum class Then { keep, close, reset, hang } then = Then::keep;
  };
  using Answer = std::function<Reply(const Request&)>;

  static Reply reply(int status, const std::string& body = "", const std::string& headers = "") {
    return {"HTTP/1.1 " + std::to_string(status) + " Said\r\nContent-Length: " + std::to_string(body.size()) +
                "\r\n" + headers + "\r\n" + body,
            Reply::Then::keep};
  }

  enum class Reading {
    at_once,
    late,    // it answers before it reads the body of a request
    slowly,  // 16 KiB each 20 ms, and its kernel takes little more
  };
  explicit HttpScript(Answer answer, Reading reading = Reading::at_once)
      : answer_(std::move(answer)), reading_(reading) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int little = 16 << 10;
    if (reading == Reading::slowly) ::setsockopt(listener_, SOL_SOCKET, SO_RCVBUF, &little, sizeof little);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), length) != 0 ||
        ::listen(listener_, 64) != 0 ||
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length) != 0)
      throw std::runtime_error("no port to listen on");
    port_ = ntohs(address.sin_port);
    threads_.emplace_back([this] { accept_all(); });
  }
  ~HttpScript() {
    ::shutdown(listener_, SHUT_RDWR);
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
      for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
    }
    threads_.front().join();
    for (std::size_t i = 1; i < threads_.size(); ++i) threads_[i].join();
    ::close(listener_);
  }

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/"; }
  std::vector<Request> seen() const {
    std::lock_guard lock(mutex_);
    return seen_;
  }
  int connections() const {
    std::lock_guard lock(mutex_);
    return static_cast<int>(threads_.size()) - 1;
  }

 private:
  void accept_all() {
    for (int fd = 0; (fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;) {
      std::lock_guard lock(mutex_);
      if (stopping_) {
        ::close(fd);
        return;
      }
      open_.push_back(fd);
      threads_.emplace_back([this, fd, number = static_cast<int>(threads_.size())] { serve(fd, number); });
    }
  }

  void serve(int fd, int number) {
    std::string pending;
    bool hang = false;
    while (!hang) {
      Request request;
      request.connection = number;
      if (!receive(fd, pending, request)) break;
      {
        std::lock_guard lock(mutex_);
        seen_.push_back(request);
      }
      const Reply reply = answer_(request);
      for (std::size_t at = 0; at < reply.bytes.size();) {
        const ssize_t sent = ::send(fd, reply.bytes.data() + at, reply.bytes.size() - at, MSG_NOSIGNAL);
        if (sent <= 0) break;
        at += static_cast<std::size_t>(sent);
      }
      if (reply.then == Reply::Then::close) break;
      if (reply.then == Reply::Then::reset) {
        const linger at_once{1, 0};
        ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        break;
      }
      hang = reply.then == Reply::Then::hang;
    }
    char ignored[4096];
    while (hang && ::recv(fd, ignored, sizeof ignored, 0) > 0) {
    }
    std::lock_guard lock(mutex_);
    std::erase(open_, fd);
    ::close(fd);
  }

  // One request off the wire; false when the connection ended.
  bool receive(int fd, std::string& pending, Request& request) {
    const auto more = [&] {
      char buffer[65536];
      if (reading_ == Reading::slowly) std::this_thread::sleep_for(std::chrono::milliseconds(20));
      const ssize_t length = ::recv(fd, buffer, reading_ == Reading::slowly ? sizeof buffer / 4 : sizeof buffer, 0);
      if (length > 0) pending.append(buffer, static_cast<std::size_t>(length));
      return length > 0;
    };
    std::size_t end = 0;
    while ((end = pending.find("\r\n\r\n")) == std::string::npos)
      if (!more()) return false;
    const std::string head = pending.substr(0, end + 2);
    pending.erase(0, end + 4);
    request.method = head.substr(0, head.find(' '));
    const auto target = request.method.size() + 1;
    request.target = head.substr(target, head.find(' ', target) - target);
    for (const char c : head) request.head += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    std::size_t length = 0;
    if (const auto at = request.head.find("content-length: "); at != std::string::npos)
      length = std::stoul(request.head.substr(at + 16));
    if (reading_ == Reading::late) return true;
    if (request.head.find("expect: 100-continue") != std::string::npos && !leave(fd)) return false;
    while (pending.size() < length)
      if (!more()) return false;
    request.body = pending.substr(0, length);
    pending.erase(0, length);
    return true;
  }
  static bool leave(int fd) {
    constexpr std::string_view kGo = "HTTP/1.1 100 Continue\r\n\r\n";
    return ::send(fd, kGo.data(), kGo.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(kGo.size());
  }

  const Answer answer_;
  const Reading reading_;
  int listener_ = -1, port_ = 0;
  mutable std::mutex mutex_;
  bool stopping_ = false;
  std::vector<int> open_;
  std::vector<Request> seen_;
  std::vector<std::thread> threads_;
};

}  // namespace respaldo::testing
