// clock.h: vector clocks. The order of two operations is known from what they had to wait for, whatever their timing was.
#pragma once
#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

namespace sc {

// Clock holds, for each stream, the number of its last operation that is known to be done.
class VectorClock {
  public:
    uint64_t at(int stream) const {
        auto it = find(stream);
        return it != all.end() && it->first == stream ? it->second : 0;
    }
    void raise(int stream, uint64_t seq) {
        auto it = all.begin() + (find(stream) - all.begin());
        if (it == all.end() || it->first != stream)
            all.insert(it, {stream, seq});
        else
            it->second = std::max(it->second, seq);
    }
    // join takes over what o knows, and tells whether that was news.
    bool join(const VectorClock& o) {
        bool news = false;
        size_t i = 0;
        for (auto& e : o.all) {
            while (i < all.size() && all[i].first < e.first) i++;
            if (i == all.size() || all[i].first != e.first)
                all.insert(all.begin() + long(i), e);
            else if (all[i].second < e.second)
                all[i].second = e.second;
            else
                continue;
            news = true;
        }
        return news;
    }
    void clear() { all.clear(); }

  private:
    using Entries = std::vector<std::pair<int, uint64_t>>;  // ascending
    Entries all;
    Entries::const_iterator find(int stream) const {
        return std::lower_bound(all.begin(), all.end(), stream, [](const auto& e, int s) { return e.first < s; });
    }
};

}  // namespace sc
