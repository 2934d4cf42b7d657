"""What slots know of their objects: factors predicted from slots, beside what can be predicted without them."""
