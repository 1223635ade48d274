"""The peer of the benchmark: the same bare work in simpy, as research simulators of mixnets do it.

A packet waits an exponential time at each hop and is sent on at once, so PENDING packets are always under way. An event is
one wait that is over. Prints events and seconds of a core.
"""
import random
import sys
import time

import simpy

PENDING, EVENTS = int(sys.argv[1]), int(sys.argv[2])
env = simpy.Environment()
rng = random.Random(1)
count = 0


def packet():
    global count
    while True:
        yield env.timeout(rng.expovariate(1.0))
        count += 1


for _ in range(PENDING):
    env.process(packet())
for _ in range(PENDING):
    env.step()
count = 0
begun = time.process_time()
while count < EVENTS:
    env.step()
print(count, time.process_time() - begun)
