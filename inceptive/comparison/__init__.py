"""Several models on the same images: what each gets right, what that proves, and what each costs."""
