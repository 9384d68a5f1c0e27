import re,glob
pats=[('process.umask(63)','run'),('let log = openLog(','config'),('let kernel = new RunningKernel','prepared'),('kernel = new RunningKernel','prepared'),('openLog(config','config'),('occupy(this.#config)','occupy')]
for f in glob.glob('dist/p4/*.js'):
    s=open(f).read(); o=s
    for a,m in pats:
        s=re.sub(r'(\n\s*)([^\n]*'+re.escape(a)+r'[^\n]*)', lambda x: x.group(1)+'console.error("M %s",performance.now());'%m+x.group(2) if not re.search(r'function|=>\s*$',x.group(2)) else x.group(0), s)
    s=s.replace('performance.now(), started = await startPlugin','(console.error("M plugin",step.id,performance.now()),performance.now()), started = await startPlugin')
    if s!=o: open(f,'w').write(s)
