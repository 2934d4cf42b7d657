"""Who runs what where: the plan of a command, its parts, and the engines that carry it out."""
