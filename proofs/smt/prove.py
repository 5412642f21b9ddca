import sys, time
from pathlib import Path
from tables import Tables
from obligations import *
from mutate import mutate
t=Tables.load(Path(sys.argv[1]))
t0=time.time()
n=sum(len(PARTS[p](t)) for p in PARTS); print(n,time.time()-t0)
mutate(t,True)
