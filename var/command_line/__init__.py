"""What command lines are made of: the frame, and the groups of options that commands share. No torch here."""
