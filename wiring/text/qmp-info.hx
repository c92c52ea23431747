ERST

    {
        .name       = "gmem",
        .args_type  = "",
        .params     = "",
        .help       = "show guest_memfd memory and what of it is private",
    },

SRST
  ``info gmem``
    Show the blocks of guest memory that come from guest_memfd, with a map of
    what is shared and what is private.
