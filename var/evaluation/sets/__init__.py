"""Sets of images that are judged or judged against: on disk, by protocol, as statistics, as controls."""
