"""What runs independent tasks and gives their results in order: threads, processes, or the workers of a Ray cluster.

An engine knows nothing of rows, tokens or measures. It is given a job (how a worker makes its function, once) and tasks, and what
it gives back does not depend on which engine it is, on how many workers it has, or on which of them died on the way.
"""

import os

# Before any code of a workspace has run: what it does to the environment later does not reach the processes of a cluster.
ENVIRONMENT = dict(os.environ)
