// What libarchive writes before an entry, made such that GNU tar understands all of it.
#pragma once

#include <string>

namespace respaldo::restore {

// `head`: the blocks of one entry up to its contents. Names of extended attributes are unquoted ("%20"), but
// for the '%' and '=' that GNU tar unquotes itself; and entries whose names are UTF-8 are not marked as
// binary, a mark that GNU tar warns of each time. Times before 1970 are written as POSIX has them. What add_acl() gave
// as an attribute becomes the record of an access control list. A head without a pax header is left as it is.
std::string plain_pax_header(std::string head);

}  // namespace respaldo::restore
