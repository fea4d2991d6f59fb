f=$1; read w h < <(python3 - $f <<'P'
import re,sys; s=open(sys.argv[1]).read(); m=re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"',s); print(int(float(m[1]))+1,int(float(m[2]))+1)
P
)
chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=$w,$h --screenshot=${f%.svg}.png file://$PWD/$f >/dev/null 2>&1; echo $w $h
