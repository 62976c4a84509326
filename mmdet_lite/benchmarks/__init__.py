"""Speed, always side by side with something else in one run; and figures that do not vary."""
