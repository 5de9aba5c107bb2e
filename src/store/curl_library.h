// libcurl, loaded when the first address of one over HTTP is read. Internal to the room.
#pragma once

#include <curl/curl.h>

#include "os/library.h"

namespace respaldo::store {

#define RESPALDO_FUNCTION(name) decltype(&::curl_##name) name = library.function<decltype(&::curl_##name)>("curl_" #name)
struct CurlLibrary {
  os::Library library{"libcurl.so.4", "libcurl4"};
  RESPALDO_FUNCTION(easy_cleanup);
  RESPALDO_FUNCTION(easy_getinfo);
  RESPALDO_FUNCTION(easy_init);
  RESPALDO_FUNCTION(easy_perform);
  RESPALDO_FUNCTION(easy_reset);
  RESPALDO_FUNCTION(easy_setopt);
  RESPALDO_FUNCTION(easy_strerror);
  RESPALDO_FUNCTION(free);
  RESPALDO_FUNCTION(getdate);
  RESPALDO_FUNCTION(global_init);
  RESPALDO_FUNCTION(slist_append);
  RESPALDO_FUNCTION(slist_free_all);
  RESPALDO_FUNCTION(url);
  RESPALDO_FUNCTION(url_cleanup);
  RESPALDO_FUNCTION(url_get);
  RESPALDO_FUNCTION(url_set);
  RESPALDO_FUNCTION(url_strerror);
};
#undef RESPALDO_FUNCTION

// Error(unsupported) when it cannot be loaded. Thread-safe.
inline const CurlLibrary& curl() {
  static const CurlLibrary loaded;
  return loaded;
}

}  // namespace respaldo::store
