/// A queue that allocates nothing once it has grown.
struct Ring<Element> {
    private var elements: [Element] = []
    private var head = 0
    private(set) var count = 0

    var first: Element? { count > 0 ? elements[head] : nil }

    mutating func append(_ element: Element) {
        if count == elements.count {
            elements = Array(elements[head...]) + elements[..<head]
            head = 0
            elements.append(contentsOf: repeatElement(element, count: max(16, count)))
        }
        var place = head + count
        if place >= elements.count { place -= elements.count }
        elements[place] = element
        count += 1
    }

    mutating func popFirst() -> Element? {
        guard count > 0 else { return nil }
        let element = elements[head]
        head = head + 1 == elements.count ? 0 : head + 1
        count -= 1
        return element
    }
}

extension Ring: Sendable where Element: Sendable {}
