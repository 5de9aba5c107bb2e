// quick_repository FOLDER: makes a repository like `respaldo init`, but its key costs little to derive. In a guest, where
// page faults are dear, the usual cost is most of what a command takes. The password is $RESPALDO_PASSWORD.
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "repo/repository.h"
#include "store/backend.h"

int main(int count, char** words) {
  const char* const password = std::getenv("RESPALDO_PASSWORD");
  if (count != 2 || password == nullptr) return std::fputs("usage: RESPALDO_PASSWORD=... quick_repository FOLDER\n", stderr), 2;
  try {
    respaldo::repo::Repository::CreateOptions options;
    options.scrypt = respaldo::crypto::ScryptParameters{1024, 8, 1};
    respaldo::repo::Repository::create(respaldo::store::open_local(words[1]), password, options);
  } catch (const std::exception& error) {
    return std::fprintf(stderr, "quick_repository: %s\n", error.what()), 1;
  }
}
