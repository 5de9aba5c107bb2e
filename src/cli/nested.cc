#include "cli/nested.h"

#include <algorithm>
#include <mutex>

#include "cli/cli.h"
#include "cli/command.h"
#include "store/open.h"

namespace respaldo::cli {

namespace {

// Takes the events of a command and shows them as the outer command shows its own.
class Events {
 public:
  Events(app::Context& context, NestedResult& result) : context_(context), result_(result) {}
  ~Events() {
    if (phase_) context_.progress().end();
  }

  void take(std::string_view text) {
    buffer_ += text;
    for (std::size_t end; (end = buffer_.find('\n')) != std::string::npos; buffer_.erase(0, end + 1))
      line(buffer_.substr(0, end));
  }

 private:
  void line(const std::string& text) {
    const Json event = Json::parse(text, nullptr, false);
    if (!event.is_object() || !event.contains("event")) {
      if (!text.empty()) context_.progress().note(text);
      return;
    }
    const std::string kind = event.value("event", "");
    if (kind == "begin") {
      if (phase_) context_.progress().end();
      phase_ = true;
      done_ = 0;
      context_.progress().begin(event.value("phase", ""), event.value("total_bytes", std::uint64_t{0}));
    } else if (kind == "progress" || kind == "end") {
      const auto done = event.value("done_bytes", std::uint64_t{0});
      if (phase_ && done > done_) context_.progress().advance(done - done_);
      done_ = std::max(done, done_);
      if (phase_ && kind == "end") {
        context_.progress().end();
        phase_ = false;
      }
    } else if (kind == "warning") {
      result_.warnings.push_back(event.value("message", ""));
      context_.warn(result_.warnings.back());
    } else if (kind == "error") {
      result_.message = event.value("message", "");
      result_.hint = event.value("hint", "");
    } else {
      context_.progress().note(event.value("message", ""));
    }
  }

  app::Context& context_;
  NestedResult& result_;
  std::string buffer_;
  bool phase_ = false;
  std::uint64_t done_ = 0;
};

}  // namespace

NestedResult run_nested(app::Context& context, std::vector<std::string> words, std::stop_token stop) {
  NestedResult result;
  std::string out;
  std::mutex mutex;  // events come from the command's threads, too
  Events events(context, result);
  app::World world = context.world();
  words.insert(words.begin(), "--json");
  world.arguments = std::move(words);
  world.out = [&](std::string_view text) { out += text; };
  world.err = [&](std::string_view text) {
    const std::lock_guard lock(mutex);
    events.take(text);
  };
  world.in_is_terminal = false;  // nobody is asked in the middle of a job
  world.stop = std::move(stop);
  result.code = run(std::move(world));
  result.result = Json::parse(out, nullptr, false);
  if (result.result.is_discarded()) result.result = Json();
  return result;
}

std::string quoted_word(const std::string& word) {
  std::string out = "'";
  for (const char c : word) {
    if (c == '\'')
      out += "'\\''";
    else
      out += c;
  }
  return out + "'";
}

std::string quoted_line(const config::Argv& argv) {
  std::string line;
  for (const std::string& word : argv) line += (line.empty() ? "" : " ") + quoted_word(word);
  return line;
}

namespace {

// As the job will run it.
void judge(const std::string& command, const std::vector<std::string>& options) {
  CommandLine line;
  std::vector<std::string> words = {command.empty() ? "list" : command};
  if (command == "backup") words.emplace_back("vg/lv");
  words.insert(words.end(), options.begin(), options.end());
  std::ranges::reverse(words);
  try {
    line.app.parse(std::move(words));
  } catch (const CLI::ParseError& error) {
    std::string what = error.what();
    std::ranges::replace(what, '\n', ' ');
    throw Error(ErrorKind::usage, printable(what));
  }
}

}  // namespace

config::Vocabulary vocabulary() {
  const auto line = std::make_shared<CommandLine>();  // its options judge values for as long as somebody asks
  config::Vocabulary words;
  words.judge = judge;
  const auto read = [&](CLI::App& app) {
    std::map<std::string, config::OptionShape> options;
    for (CLI::Option* option : app.get_options()) {
      if (option == app.get_help_ptr() || option == app.get_version_ptr()) continue;  // they end the program
      config::OptionShape shape;
      shape.takes_value = option->get_items_expected_max() > 0;
      // CLI11 tells the words that an option takes as "TEXT:{fail,skip}".
      const std::string type = option->get_type_name();
      const std::size_t open = type.find('{'), close = type.rfind('}');
      if (open != std::string::npos && close != std::string::npos && close > open)
        for (std::size_t at = open + 1; at <= close;) {
          const std::size_t end = std::min(type.find(',', at), close);
          shape.choices.push_back(type.substr(at, end - at));
          at = end + 1;
        }
      shape.check = [line, option](const std::string& value) {
        try {
          option->clear();
          option->add_result(value);
          option->run_callback();
        } catch (const CLI::ParseError& error) {
          throw Error(ErrorKind::usage, printable(error.what()));
        }
      };
      for (const std::string& name : option->get_lnames()) options[name] = shape;
    }
    return options;
  };
  words.commands[""] = read(line->app);
  for (const auto& [command, action] : line->actions) words.commands[command->get_name()] = read(*command);
  return words;
}

config::Config without_secrets(config::Config config) {
  for (auto& [name, repository] : config.repositories) {
    repository.location = store::display_location(repository.location);
    if (repository.password_command.size() > 1) repository.password_command = {repository.password_command.front(), "..."};
  }
  return config;
}

std::string config_file(app::Context& context) {
  if (!context.options().config.empty()) return context.options().config;
  if (auto value = context.world().environment("RESPALDO_CONFIG"); value && !value->empty()) return *value;
  return config::kDefaultFile;
}

}  // namespace respaldo::cli
