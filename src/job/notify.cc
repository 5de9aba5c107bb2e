#include "job/notify.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/printable.h"
#include "os/process.h"

namespace respaldo::job {

namespace {

constexpr std::chrono::seconds kDeadline{60};

std::vector<std::string> addresses(const std::string& list) {
  std::vector<std::string> result;
  std::string one;
  for (const char c : list + ",") {
    if (c != ',' && c != ' ') {
      one += c;
    } else if (!one.empty()) {
      result.push_back(std::move(one));
      one.clear();
    }
  }
  return result;
}

// RFC 2047 where the subject is not ASCII; never a line end.
std::string header_text(const std::string& text) {
  const std::string line = printable(text);
  if (std::ranges::all_of(line, [](unsigned char c) { return c >= 0x20 && c < 0x7f; })) return line;
  std::string encoded = "=?utf-8?q?";
  for (const unsigned char c : line)
    encoded +=
        std::isalnum(c) != 0 && c < 0x80 ? std::string(1, static_cast<char>(c)) : fmt::format("={:02X}", c);
  return encoded + "?=";
}

os::CommandResult send(std::vector<std::string> argv, const std::string& mail) {
  os::CommandOptions options;
  options.input = mail;
  options.limit = kDeadline;
  try {
    return os::run_command(argv, options);
  } catch (const Error& error) {
    // A PATH of cron's knows no sbin.
    if (error.kind() != ErrorKind::not_found) throw;
    argv.front() = "/usr/sbin/sendmail";
    return os::run_command(argv, options);
  }
}

std::string mail(const std::string& to, const Message& message) {
  try {
    std::vector<std::string> argv = {"sendmail", "-i", "--"};
    const auto everyone = addresses(to);
    argv.insert(argv.end(), everyone.begin(), everyone.end());
    const os::CommandResult result = send(argv, mail_text(to, message));
    if (result.exit_code == 0) return {};
    return fmt::format("sendmail ended with exit code {}: {}", result.exit_code, printable(result.err));
  } catch (const Error& error) {
    return fmt::format("no mail could be sent: {}", error.what());
  }
}

}  // namespace

std::string mail_text(const std::string& to, const Message& message) {
  return fmt::format(
      "To: {}\nSubject: {}\nAuto-Submitted: auto-generated\nMIME-Version: 1.0\n"
      "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n{}",
      fmt::join(addresses(to), ", "), header_text(message.subject), message.text);
}

void notify(const config::Notify& how, const Message& message, const Facts& facts) {
  std::string problem;
  if (!how.email.empty()) problem = mail(how.email, message);
  if (!how.command.empty()) {
    Facts all = facts;
    all.emplace_back("SUBJECT", message.subject);
    try {
      run_hook("notify", how.command, kDeadline, all, {}, message.text);
    } catch (const Error& error) {
      problem += (problem.empty() ? "" : "; ") + std::string(error.what());
    }
  }
  if (!problem.empty())
    throw Error(ErrorKind::io, problem,
                "install a mail server's package, or correct `notify` in the configuration");
}

}  // namespace respaldo::job
