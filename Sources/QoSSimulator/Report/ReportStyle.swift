/// How the page looks, on light and on dark screens.
enum ReportStyle {
    static let css = """
        :root{color-scheme:light dark;--back:#fff;--ink:#1c2330;--faint:#66707f;--rule:#dde2e8;--good:#1a7f4b;--bad:#c0322b;\
        --p0:#1f6fd0;--p1:#d9660a;--p2:#12886b;--p3:#b8327d;--p4:#7354c4;--p5:#8a6d00;--p6:#00809e;--p7:#a8442a;--p8:#66707f}
        @media (prefers-color-scheme:dark){:root{--back:#12161d;--ink:#e5e9ef;--faint:#98a3b3;--rule:#2b3340;--good:#4cc38a;\
        --bad:#ff7b72;--p0:#62a8ff;--p1:#ff9d4d;--p2:#41d3a8;--p3:#ff82c3;--p4:#b39dff;--p5:#e2c044;--p6:#4fd0ee;--p7:#ff9b80;\
        --p8:#98a3b3}}
        body{font:15px/1.5 system-ui,sans-serif;background:var(--back);color:var(--ink);max-width:1360px;margin:2rem auto;\
        padding:0 1rem}
        h1{font-size:1.6rem;margin:0 0 .3rem}h2{font-size:1.25rem;margin:2rem 0 .3rem}
        table{border-collapse:collapse;font-variant-numeric:tabular-nums;margin:1rem 0;display:block;overflow-x:auto}
        th{text-align:left;color:var(--faint);font-weight:500}th,td{padding:.2rem .9rem .2rem 0;border-bottom:1px solid var(--rule);\
        white-space:nowrap}
        .volumes td:not(:first-child),.volumes th:not(:first-child){text-align:right}
        tr.passed td:first-child{color:var(--good)}tr.failed td:first-child{color:var(--bad);font-weight:600}
        .plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,480px),1fr));gap:1.2rem 2rem}
        .plot{margin:0}figcaption{font-weight:600}small{color:var(--faint);font-weight:400}
        svg{width:100%;height:auto;display:block}
        .grid{stroke:var(--rule);stroke-width:1}.tick{fill:var(--faint);font-size:11.5px}
        .series{fill:none;stroke-width:1.8;stroke-linejoin:round}.limit{fill:none;stroke-width:1.2;stroke-dasharray:5 4;opacity:.75}
        .band{opacity:.16;stroke:none}
        .legend{display:flex;flex-wrap:wrap;gap:.1rem 1rem;color:var(--faint);font-size:.85rem}
        .legend i{display:inline-block;width:1.3rem;height:0;border-top:2px solid;vertical-align:middle;margin-right:.35rem}
        .legend .dash{border-top-style:dashed}
        """
        + (0...8).map {
            "path.c\($0){stroke:var(--p\($0))}.band.c\($0){fill:var(--p\($0))}.legend .c\($0){border-color:var(--p\($0))}"
        }
        .joined()
}
