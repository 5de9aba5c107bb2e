// Somebody is told how a job went.
#pragma once

#include <string>

#include "config/config.h"
#include "job/hook.h"

namespace respaldo::job {

struct Message {
  std::string subject;  // one line
  std::string text;     // UTF-8
};

// By e-mail (sendmail, as every mail server's package has it) and by command (the text on its standard input,
// the subject in RESPALDO_SUBJECT). Both are tried; Error(io) with what failed.
void notify(const config::Notify& how, const Message& message, const Facts& facts);

// The message as sendmail takes it. For tests.
std::string mail_text(const std::string& to, const Message& message);

}  // namespace respaldo::job
