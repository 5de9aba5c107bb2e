// The whole program in process, in a world made up for tests.
#pragma once

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <stop_token>

#include "cli/cli.h"
#include "engine/image/image_engine.h"
#include "os/file.h"
#include "repo/repository.h"
#include "testing/temp.h"

namespace respaldo::cli {

struct Outcome {
  int code = -1;
  std::string out, err;
  Bytes raw;  // what went to the descriptor of standard output
};

// A private folder, a repository's place in it, and what the user is, types and has in the environment.
class Program : public ::testing::Test {
 protected:
  Program() {
    environment["RESPALDO_PASSWORD"] = "secret";
    environment["RESPALDO_STATE"] = path("state");
  }

  std::string path(const std::string& name) const { return (folder_.path() / name).native(); }
  std::string repository() const { return path("repo"); }

  // A repository whose key costs nothing to derive.
  void make_repository(const std::string& password = "secret") {
    repo::Repository::CreateOptions options;
    options.scrypt = crypto::ScryptParameters{1024, 1, 1};
    repo::Repository::create(store::open_location(repository()), password, options);
  }

  // Words as they are.
  Outcome run(std::vector<std::string> words) {
    Outcome outcome;
    const std::string raw = path("standard-output");
    const os::UniqueFd fd = os::open_file(raw, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC);
    app::World world;
    world.arguments = std::move(words);
    world.environment = [this](const char* name) -> std::optional<std::string> {
      const auto at = environment.find(name);
      return at == environment.end() ? std::nullopt : std::optional(at->second);
    };
    std::stop_source stop;
    world.stop = stop.get_token();
    int times = 0;
    const auto stop_when_said = [&](std::string_view text) {
      if (!stop_at.empty() && text.find(stop_at) != text.npos && ++times == stop_at_time) stop.request_stop();
    };
    world.out = [&](std::string_view text) {
      if (nobody_reads) {
        stop.request_stop();
        throw Cancelled();
      }
      outcome.out += text;
      stop_when_said(text);
    };
    world.err = [&](std::string_view text) { outcome.err += text; stop_when_said(text); };
    world.in_is_terminal = !answers.empty();
    world.ask = [this](std::string_view question, bool) -> std::optional<std::string> {
      asked += question;
      if (answers.empty()) return std::nullopt;
      std::string answer = answers.front();
      answers.erase(answers.begin());
      return answer;
    };
    world.out_fd = fd.get();
    outcome.code = cli::run(std::move(world));
    outcome.raw = Bytes(static_cast<std::size_t>(os::device_size(fd.get(), raw)));
    os::read_exactly_at(fd.get(), 0, outcome.raw.span(), raw);
    return outcome;
  }
  // With the repository and the disks.
  Outcome respaldo(std::vector<std::string> words) {
    std::vector<std::string> all = {"-r", repository()};
    for (const std::string& disk : disks) all.insert(all.end(), {"--disk", disk});
    all.insert(all.end(), words.begin(), words.end());
    return run(std::move(all));
  }
  // Fails the test unless the command succeeds.
  std::string must(std::vector<std::string> words) {
    const Outcome outcome = respaldo(std::move(words));
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return outcome.out;
  }
  nlohmann::json must_json(std::vector<std::string> words) {
    words.insert(words.begin(), "--json");
    const std::string out = must(std::move(words));
    EXPECT_EQ(std::count(out.begin(), out.end(), '\n'), 1) << out;
    return nlohmann::json::parse(out, nullptr, false);
  }

  std::string make_image(const std::string& name, std::uint64_t size) {
    const std::string file = path(name);
    std::ofstream(file).close();
    std::filesystem::resize_file(file, size);
    return file;
  }
  static Bytes contents(const std::string& file) {
    const os::UniqueFd fd = os::open_file(file, O_RDONLY | O_CLOEXEC);
    Bytes bytes(static_cast<std::size_t>(os::device_size(fd.get(), file)));
    os::read_exactly_at(fd.get(), 0, bytes.span(), file);
    return bytes;
  }
  static bool same(const Bytes& a, const Bytes& b) {
    return a.size() == b.size() && std::equal(a.data(), a.data() + a.size(), b.data());
  }

  std::map<std::string, std::string> environment;
  std::vector<std::string> disks, answers;
  std::string asked;
  std::string stop_at;    // the program is stopped, as by Ctrl-C, when it says this ...
  int stop_at_time = 1;   // ... for the n-th time
  bool nobody_reads = false;  // its standard output, until it is stopped

 private:
  os::TemporaryFolder folder_;
};

// One disk of 64 MiB; on it vg0 with `root` of 12 MiB, which has data, zeros, and data again, and `home` of 4
// MiB.
class ProgramWithDisk : public Program {
 protected:
  ProgramWithDisk() {
    make_repository();
    disks = {make_image("server.img", 64U << 20)};
    must({"-q", "lvm", "vgcreate", "vg0", disks[0]});
    must({"-q", "lvm", "lvcreate", "-L", "12m", "-n", "root", "vg0"});
    must({"-q", "lvm", "lvcreate", "-L", "4m", "-n", "home", "vg0"});
    image_ = Bytes::zeroed(12U << 20);
    for (const std::uint64_t at : {0U << 20, 9U << 20}) {
      const Bytes noise = testing::random_bytes((1U << 20) + 12345, at + 1);
      std::copy(noise.data(), noise.data() + noise.size(), image_.data() + at);
    }
    fill_root();
  }
  void fill_root() {
    const auto engine = engine::make_image_engine({disks[0]});
    const auto volume = engine->open_write({"vg0", "root"});
    volume->write_at(0, image_);
    volume->flush();
  }
  Bytes image_;
};

}  // namespace respaldo::cli
